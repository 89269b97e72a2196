package reconcile_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/app"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/reconcile"
)

// result is what a run of the command has printed.
type result struct {
	code      int
	out, errs string
}

// run runs the command against a fake brand.
func run(t *testing.T, brand *clixnowtest.Server, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	env := map[string]string{
		"CLIXNOW_BRAND": brand.Brand, "CLIXNOW_TOKEN": brand.Token, "CLIXNOW_BASE_URL": brand.URL,
		"CLIXNOW_CONFIG": filepath.Join(t.TempDir(), "config.toml"),
	}
	require.NoError(t, os.WriteFile(env["CLIXNOW_CONFIG"], nil, 0o600))
	a := &app.App{
		In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(name string) string { return env[name] },
	}
	defer a.Close()
	root := app.Root(a, reconcile.Command(a))
	root.SetArgs(append([]string{"reconcile"}, args...))
	err := root.ExecuteContext(t.Context())
	if err != nil {
		fmt.Fprintln(&errs, "clixnow:", app.Explain(err))
	}
	return result{code: app.Code(err), out: out.String(), errs: errs.String()}
}

// findings returns a line for each finding of -o json, without the folders of
// test files.
func (r result) findings(t *testing.T) (lines []string) {
	t.Helper()
	folder := regexp.MustCompile(regexp.QuoteMeta(os.TempDir()) + `\S*/`)
	var findings []struct {
		Kind, Source, ClickID, ClickIDThere, Detail, Email string
		LeadID                                             int64
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &findings), r.errs)
	for _, f := range findings {
		line := fmt.Sprintf("%s %s %d %s %s %s", f.Kind, f.Source, f.LeadID, f.ClickID, f.ClickIDThere, f.Detail)
		line = folder.ReplaceAllString(line, "")
		lines = append(lines, strings.Join(strings.Fields(line), " "))
		assert.Empty(t, f.Email)
	}
	return lines
}

// write writes f.csv, and returns its path.
func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f.csv")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// at returns a time of November 2021, the period of most tests.
func at(day, hour int) time.Time { return time.Date(2021, time.November, day, hour, 0, 0, 0, time.UTC) }

// lead returns a lead of 5 November 2021, changed on the sixth.
func lead(id int64, change func(*clixnow.Lead)) clixnow.Lead {
	l := clixnow.Lead{
		ID: id, Email: fmt.Sprintf("visitor%d@example.com", id), ClickID: fmt.Sprintf("click-%d", id), Status: "New",
		CreatedOn: at(5, 12), UpdatedOn: at(6, 12),
	}
	if change != nil {
		change(&l)
	}
	return l
}

func deposited(on time.Time) func(*clixnow.Lead) {
	return func(l *clixnow.Lead) { l.FTDDate, l.UpdatedOn = on, on }
}

func clickID(id string) func(*clixnow.Lead) { return func(l *clixnow.Lead) { l.ClickID = id } }
func email(text string) func(*clixnow.Lead) { return func(l *clixnow.Lead) { l.Email = text } }

// kinds are cases with one row for each kind of finding.
var kinds = []struct {
	name, file string
	leads      []clixnow.Lead
	opts       []clixnowtest.Option
	want       []string
	code       int
}{
	{
		name: "all is there", file: "lead_id,click_id,email\n1,click-1,visitor1@example.com\n,click-2,\n",
		leads: []clixnow.Lead{lead(1, nil), lead(2, nil)},
	},
	{
		name: "missing by lead id", file: "lead_id,click_id\n1,click-1\n",
		leads: []clixnow.Lead{lead(2, clickID(""))},
		want:  []string{"missing_there f.csv:2 1 click-1", "unknown_here 2"}, code: 1,
	},
	{
		name: "missing by click id", file: "click_id\nclick-1\n",
		want: []string{"missing_there f.csv:2 0 click-1 it has no time: it may be of another period"}, code: 1,
	},
	{
		name: "missing, and the click id belongs to another lead", file: "lead_id,click_id\n1,click-2\n",
		leads: []clixnow.Lead{lead(2, nil)},
		want: []string{
			"missing_there f.csv:2 1 click-2", "unknown_here 2 click-2 f.csv:2 has its click id, but another lead id",
		}, code: 1,
	},
	{
		name: "two leads with one click id", file: "click_id\nclick-1\n",
		leads: []clixnow.Lead{lead(1, nil), lead(2, clickID("click-1"))},
		want:  []string{"unknown_here 2 click-1 f.csv:2 has its click id, but another lead id"},
	},
	{
		name: "there, but created in another month", file: "lead_id\n1\n",
		leads: []clixnow.Lead{lead(1, func(l *clixnow.Lead) { l.CreatedOn = at(-40, 0) })},
	},
	{
		name: "unknown here", file: "lead_id\n1\n", leads: []clixnow.Lead{lead(1, nil), lead(2, nil)},
		want: []string{"unknown_here 2 click-2"},
	},
	{
		name: "unknown outside the period", file: "lead_id\n1\n",
		leads: []clixnow.Lead{lead(1, nil), lead(2, func(l *clixnow.Lead) { l.CreatedOn = at(31, 1) })},
	},
	{
		name:  "registered in the period, created a moment later",
		file:  "click_id,registered\nCLICK-1,2021-11-30 23:59\n",
		leads: []clixnow.Lead{lead(1, func(l *clixnow.Lead) { l.CreatedOn, l.UpdatedOn = at(31, 0), at(31, 0) })},
		want:  []string{"click_id_differs f.csv:2 1 CLICK-1 click-1 only upper and lower case differ"}, code: 1,
	},
	{
		name: "registered outside the period",
		file: "click_id,registered\na-1,2021-10-31\na-2,2021-12-01\na-3,2021-11-30\n",
		want: []string{"missing_there f.csv:4 0 a-3"}, code: 1,
	},
	{
		name: "click id in another case, by lead id", file: "lead_id,click_id\n1,CLICK-1\n",
		leads: []clixnow.Lead{lead(1, nil)},
		want:  []string{"click_id_differs f.csv:2 1 CLICK-1 click-1 only upper and lower case differ"}, code: 1,
	},
	{
		name: "click id in another case, without lead id", file: "click_id\nCLICK-1\n",
		leads: []clixnow.Lead{lead(1, nil)},
		want:  []string{"click_id_differs f.csv:2 1 CLICK-1 click-1 only upper and lower case differ"}, code: 1,
	},
	{
		name: "long click id cut there", file: "click_id\na-click-id-of-20-xxx-more\n",
		leads: []clixnow.Lead{lead(1, clickID("a-click-id-of-20-xxx"))},
		want: []string{
			"click_id_differs f.csv:2 1 a-click-id-of-20-xxx-more a-click-id-of-20-xxx cut there after 20 characters",
		}, code: 1,
	},
	{
		name: "long click id cut here", file: "click_id\na-click-id-of-20-xxx\n",
		leads: []clixnow.Lead{lead(1, clickID("a-click-id-of-20-xxx-more"))},
		want: []string{
			"click_id_differs f.csv:2 1 a-click-id-of-20-xxx a-click-id-of-20-xxx-more cut here after 20 characters",
		}, code: 1,
	},
	{
		name: "cut where others are cut", file: "click_id\nabcdefgh-1\nbcdefghi-2\nclick-3\n",
		leads: []clixnow.Lead{
			lead(1, clickID("abcdefgh")), lead(2, clickID("bcdefghi")), lead(3, nil),
		},
		want: []string{
			"click_id_differs f.csv:2 1 abcdefgh-1 abcdefgh cut there after 8 characters",
			"click_id_differs f.csv:3 2 bcdefghi-2 bcdefghi cut there after 8 characters",
		}, code: 1,
	},
	{
		name:  "short beginning there",
		file:  "click_id\nclick-1-and-more\n",
		leads: []clixnow.Lead{lead(1, nil)},
		want: []string{
			"missing_there f.csv:2 0 click-1-and-more the brand has a lead with the similar click id click-1",
			"unknown_here 1 click-1",
		}, code: 1,
	},
	{
		name:  "short beginning here",
		file:  "click_id\nclick-\n",
		leads: []clixnow.Lead{lead(1, nil)},
		want: []string{
			"missing_there f.csv:2 0 click- the brand has a lead with the similar click id click-1",
			"unknown_here 1 click-1",
		}, code: 1,
	},
	{
		name:  "click ids that count",
		file:  "click_id\nclick-112\nclick-12\n",
		leads: []clixnow.Lead{lead(1, nil), lead(12, nil)},
		want: []string{
			"missing_there f.csv:2 0 click-112 the brand has a lead with the similar click id click-1",
			"unknown_here 1 click-1",
		}, code: 1,
	},
	{
		name:  "click ids that count, all of one length",
		file:  "click_id\nclick-112\n",
		leads: []clixnow.Lead{lead(11, nil), lead(12, nil)},
		want: []string{
			"missing_there f.csv:2 0 click-112 the brand has a lead with the similar click id click-11",
			"unknown_here 11 click-11", "unknown_here 12 click-12",
		}, code: 1,
	},
	{
		name: "similar to the click id of another registration",
		file: "lead_id,click_id\n,a-click-id-of-20-xxx-more\n2,a-click-id-of-20-xxx\n",
		leads: []clixnow.Lead{
			lead(1, clickID("a-click-id-of-20-xxx")), lead(2, clickID("a-click-id-of-20-xxx")),
		},
		want: []string{
			"missing_there f.csv:2 0 a-click-id-of-20-xxx-more it has no time: it may be of another period",
			"unknown_here 1 a-click-id-of-20-xxx f.csv:3 has its click id, but another lead id",
		}, code: 1,
	},
	{
		name: "short click id cut there, and the email agrees",
		file: "click_id,email\nclick-1-a,anna@example.com\nclick-2,anna@example.com\n",
		leads: []clixnow.Lead{
			lead(1, email("anna@example.com")), lead(22, nil),
		},
		want: []string{
			"missing_there f.csv:3 0 click-2 it has no time: it may be of another period",
			"click_id_differs f.csv:2 1 click-1-a click-1 cut there after 7 characters",
			"unknown_here 22 click-22",
		}, code: 1,
	},
	{
		name: "cut so that it fits two", file: "click_id\nclick-1a\nclick-1b\n", leads: []clixnow.Lead{lead(1, nil)},
		want: []string{
			"missing_there f.csv:2 0 click-1a it has no time: it may be of another period",
			"missing_there f.csv:3 0 click-1b it has no time: it may be of another period",
			"unknown_here 1 click-1",
		}, code: 1,
	},
	{
		name: "click id as a number", file: "click_id\n0071234\n", leads: []clixnow.Lead{lead(1, clickID("71234"))},
		want: []string{"click_id_differs f.csv:2 1 0071234 71234 only zeros at the beginning differ"}, code: 1,
	},
	{
		name: "another click id, by email", file: "click_id,email\nother,VISITOR1@example.com\n",
		leads: []clixnow.Lead{lead(1, nil)},
		want:  []string{"click_id_differs f.csv:2 1 other click-1 another click id"}, code: 1,
	},
	{
		name: "similar click id of another email", file: "click_id,email\nCLICK-1,anna@example.com\n",
		leads: []clixnow.Lead{lead(1, nil)},
		want: []string{
			"missing_there f.csv:2 0 CLICK-1 it has no time: it may be of another period",
			"unknown_here 1 click-1",
		}, code: 1,
	},
	{
		name: "click id hidden, lead id known", file: "lead_id,click_id\n1,click-1\n",
		leads: []clixnow.Lead{lead(1, nil)}, opts: []clixnowtest.Option{clixnowtest.WithHiddenFields("clickId")},
	},
	{
		name: "click id 0 there", file: "lead_id,click_id\n1,click-1\n", leads: []clixnow.Lead{lead(1, clickID("0"))},
	},
	{
		name: "click id hidden, lead id unknown", file: "click_id\nclick-1\n",
		leads: []clixnow.Lead{lead(1, nil)}, opts: []clixnowtest.Option{clixnowtest.WithHiddenFields("clickId")},
		want: []string{
			"unknown_here 1",
			"cannot_tell f.csv:2 0 click-1 leads that hide what was compared: 1; it may be one of them",
		}, code: 5,
	},
	{
		name: "click id hidden, and more registrations than leads", file: "click_id\nclick-8\nclick-9\n",
		leads: []clixnow.Lead{lead(1, nil)}, opts: []clixnowtest.Option{clixnowtest.WithHiddenFields("clickId")},
		want: []string{
			"unknown_here 1",
			"cannot_tell f.csv:2 0 click-8 leads that hide what was compared: 1; it may be one of them",
			"cannot_tell f.csv:3 0 click-9 leads that hide what was compared: 1; it may be one of them",
		}, code: 5,
	},
	{
		name:  "one lead without click id, and others with one",
		file:  "click_id\nclick-1\nclick-8\nclick-9\n",
		leads: []clixnow.Lead{lead(1, nil), lead(2, clickID(""))},
		want: []string{
			"missing_there f.csv:4 0 click-9 it has no time: it may be of another period", "unknown_here 2",
			"cannot_tell f.csv:3 0 click-8 leads that hide what was compared: 1; it may be one of them",
		}, code: 1,
	},
	{
		name: "leads without click id of other days",
		file: "click_id,registered\nclick-1,\nclick-7,2021-11-04\nclick-8,2021-11-20\nclick-9,2021-11-05\n" +
			"click-6,2021-11-01\n",
		leads: []clixnow.Lead{
			lead(1, nil), lead(2, clickID("")),
			lead(3, func(l *clixnow.Lead) { l.CreatedOn, l.ClickID = at(6, 12), "0" }),
		},
		want: []string{
			"missing_there f.csv:4 0 click-8", "missing_there f.csv:6 0 click-6", "unknown_here 2", "unknown_here 3 0",
			"cannot_tell f.csv:3 0 click-7 leads that hide what was compared: 1; it may be one of them",
			"cannot_tell f.csv:5 0 click-9 leads that hide what was compared: 1; it may be one of them",
		}, code: 1,
	},
	{
		name:  "lead without click id of another email",
		file:  "click_id,email\nclick-1,\nclick-9,anna@example.com\n",
		leads: []clixnow.Lead{lead(1, nil), lead(2, clickID(""))},
		want: []string{
			"missing_there f.csv:3 0 click-9 it has no time: it may be of another period", "unknown_here 2",
		}, code: 1,
	},
	{
		name:  "click id hidden, but the emails of all leads are known",
		file:  "click_id,email\nclick-3,anna@example.com\n",
		leads: []clixnow.Lead{lead(1, nil)}, opts: []clixnowtest.Option{clixnowtest.WithHiddenFields("clickId")},
		want: []string{
			"missing_there f.csv:2 0 click-3 it has no time: it may be of another period",
			"unknown_here 1",
		}, code: 1,
	},
	{
		name: "click id hidden, found by email", file: "click_id,email\nclick-1,visitor1@example.com\n",
		leads: []clixnow.Lead{lead(1, nil)}, opts: []clixnowtest.Option{clixnowtest.WithHiddenFields("clickId")},
	},
	{
		name: "macro as click id", file: "lead_id,click_id\n1,{clickid}\n,{clickid}\n",
		leads: []clixnow.Lead{lead(1, nil)},
	},
	{
		name: "email differs", file: "lead_id,email\n1,anna@example.com\n", leads: []clixnow.Lead{lead(1, nil)},
		want: []string{"email_differs f.csv:2 1 click-1"}, code: 1,
	},
	{
		name: "email masked there", file: "lead_id,email\n1,anna@example.com\n",
		leads: []clixnow.Lead{lead(1, email("v***@example.com"))},
	},
	{
		name: "email hidden there", file: "lead_id,email\n1,anna@example.com\n",
		leads: []clixnow.Lead{lead(1, nil)}, opts: []clixnowtest.Option{clixnowtest.WithHiddenFields("email")},
	},
	{
		name: "email in another form", file: "lead_id,email\n1,Anna@müller.example\n",
		leads: []clixnow.Lead{lead(1, email("anna@xn--mller-kva.example"))},
	},
	{
		name: "email and click id differ", file: "lead_id,click_id,email\n1,other,anna@example.com\n",
		leads: []clixnow.Lead{lead(1, nil)},
		want: []string{
			"click_id_differs f.csv:2 1 other click-1 another click id", "email_differs f.csv:2 1 other click-1",
		}, code: 1,
	},
	{
		name: "deposits agree", file: "lead_id,ftd\n1,2021-11-07\n2,no\n3,yes\n4,\n",
		leads: []clixnow.Lead{lead(1, deposited(at(7, 9))), lead(2, nil), lead(3, deposited(at(8, 9))), lead(4, nil)},
	},
	{
		name: "deposit only there", file: "lead_id,ftd\n1,no\n2,\n",
		leads: []clixnow.Lead{lead(1, deposited(at(7, 9))), lead(2, deposited(at(7, 9)))},
		want:  []string{"deposit_only_there f.csv:2 1 click-1", "deposit_only_there f.csv:3 2 click-2"}, code: 1,
	},
	{
		name: "deposit of another date",
		file: "lead_id,ftd\n1,2021-11-05\n2,2021-11-09\n3,2021-11-06\n4,2021-11-08\n5,2021-11-08 09:01\n6,yes\n",
		leads: []clixnow.Lead{
			lead(1, deposited(at(7, 9))), lead(2, deposited(at(7, 9))), lead(3, deposited(at(7, 9))),
			lead(4, deposited(at(7, 9))), lead(5, deposited(at(7, 9))), lead(6, deposited(at(7, 9))),
		},
		want: []string{
			"deposit_date_differs f.csv:2 1 click-1", "deposit_date_differs f.csv:3 2 click-2",
			"deposit_date_differs f.csv:6 5 click-5",
		}, code: 1,
	},
	{
		name: "no column of deposits", file: "lead_id\n1\n", leads: []clixnow.Lead{lead(1, deposited(at(7, 9)))},
	},
	{
		name: "deposit only here", file: "lead_id,ftd\n1,2021-11-07\n2,yes\n3,yes\n",
		leads: []clixnow.Lead{lead(1, nil), lead(2, nil), lead(3, deposited(at(7, 9)))},
		want:  []string{"deposit_only_here f.csv:2 1 click-1", "deposit_only_here f.csv:3 2 click-2"}, code: 1,
	},
	{
		name: "deposit withdrawn", file: "lead_id,ftd\n1,2021-11-05\n2,\n",
		leads: []clixnow.Lead{lead(1, nil), lead(2, deposited(at(7, 9)))},
		want: []string{
			"deposit_withdrawn f.csv:2 1 click-1 the lead was changed after the deposit, and shows none",
			"deposit_only_there f.csv:3 2 click-2",
		}, code: 1,
	},
	{
		name: "deposits hidden", file: "lead_id,ftd\n1,2021-11-07\n2,no\n",
		leads: []clixnow.Lead{lead(1, deposited(at(7, 9))), lead(2, deposited(at(7, 9)))},
		opts:  []clixnowtest.Option{clixnowtest.WithHiddenFields("ftdDate")},
		want:  []string{"cannot_tell f.csv:2 1 click-1 the brand shows no first deposit of any lead"}, code: 5,
	},
	{
		name: "deposit in the period of an older registration",
		file: "lead_id,registered,ftd\n1,2021-09-01,2021-11-07\n2,2021-09-01,no\n" +
			"3,2021-09-01,2021-11-07\n4,2021-09-01,no\n",
		leads: []clixnow.Lead{
			lead(1, func(l *clixnow.Lead) { l.CreatedOn, l.UpdatedOn = at(-60, 0), at(-60, 0) }),
			lead(2, func(l *clixnow.Lead) { l.CreatedOn, l.FTDDate, l.UpdatedOn = at(-60, 0), at(7, 0), at(7, 0) }),
		},
		want: []string{
			"missing_there f.csv:4 3", "deposit_only_here f.csv:2 1 click-1", "deposit_only_there f.csv:3 2 click-2",
		}, code: 1,
	},
	{
		name: "other brand", file: "brand,click_id\nacme,click-1\nbeta,click-2\nbeta,click-3\n",
		leads: []clixnow.Lead{lead(1, nil), lead(2, nil)},
		want:  []string{"other_brand 2 click-2 f.csv:3 says brand beta"}, code: 1,
	},
	{
		name: "one click id at two brands", file: "brand,click_id\nacme,click-1\nbeta,click-1\n",
		leads: []clixnow.Lead{lead(1, nil)},
	},
	{
		name: "results of an import", file: "line,outcome,lead_id,email,click_id,error\n" +
			"2,registered,1,visitor1@example.com,click-1,\n3,recovered,2,,click-2,\n4,refused,,,click-3,no\n" +
			"5,unknown,,,click-4,?\n6,unknown,,,click-5,?\n7,not sent,,,click-6,no\n8,registered,7,,click-7,\n" +
			"9,registered,8,,'=cmd,\n",
		leads: []clixnow.Lead{lead(1, nil), lead(2, nil), lead(4, nil), lead(8, clickID("=cmd"))},
		want: []string{
			"missing_there f.csv:8 7 click-7", "in_doubt f.csv:6 0 click-5 the lead is not there",
			"in_doubt f.csv:5 4 click-4 the lead is there",
		}, code: 1,
	},
	{
		name: "a difference outside the period",
		file: "click_id,registered\nCLICK-1,2021-10-31 12:00\nclick-2,2021-11-05\n",
		leads: []clixnow.Lead{
			lead(1, func(l *clixnow.Lead) { l.CreatedOn, l.UpdatedOn = at(0, 12), at(0, 12) }), lead(2, nil),
		},
	},
	{
		name: "changed on the day of the deposit", file: "lead_id,ftd\n1,2021-11-06\n2,yes\n",
		leads: []clixnow.Lead{lead(1, nil), lead(2, deposited(at(7, 9)))},
		want:  []string{"deposit_only_here f.csv:2 1 click-1"}, code: 1,
	},
	{
		name: "one email twice", file: "click_id,email\nCLICK-1,anna@example.com\nCLICK-2,anna@example.com\n",
		leads: []clixnow.Lead{lead(1, email("anna@example.com")), lead(2, email("anna@example.com"))},
		want: []string{
			"click_id_differs f.csv:2 1 CLICK-1 click-1 only upper and lower case differ",
			"click_id_differs f.csv:3 2 CLICK-2 click-2 only upper and lower case differ",
		}, code: 1,
	},
	{
		name:  "one click id of two people",
		file:  "click_id,email\nclick-1,visitor1@example.com\nclick-1,anna@example.com\n",
		leads: []clixnow.Lead{lead(1, nil)},
		want:  []string{"missing_there f.csv:3 0 click-1 it has no time: it may be of another period"}, code: 1,
	},
	{
		name: "in doubt, and registered later", file: "line,outcome,lead_id,email,click_id,error\n" +
			"2,unknown,,,click-1,?\n3,registered,1,,click-1,\n",
		leads: []clixnow.Lead{lead(1, nil)},
	},
	{
		name: "deposit in one of two rows", file: "lead_id,ftd\n1,2021-11-07\n1,no\n",
		leads: []clixnow.Lead{lead(1, deposited(at(7, 9)))},
	},
	{
		name: "repeated", file: "lead_id,click_id,ftd\n1,click-1,\n,click-1,\n1,,2021-11-07\n",
		leads: []clixnow.Lead{lead(1, deposited(at(7, 9)))},
	},
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for _, test := range kinds {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			brand := clixnowtest.NewServer(test.opts...)
			defer brand.Close()
			brand.AddLeads(test.leads...)
			got := run(t, brand, "--from", "2021-11-01", "--to", "2021-11-30", "-o", "json",
				write(t, test.file))
			assert.Equal(t, test.want, got.findings(t))
			assert.Equal(t, test.code, got.code, got.errs)
		})
	}
}

// TestPairs has two kinds of findings at once, for each pair of kinds.
func TestPairs(t *testing.T) {
	t.Parallel()
	unmoved := func(l *clixnow.Lead) { l.FTDDate = at(7, 9) }
	none := func(*clixnow.Lead) {}
	blocks := []struct {
		kind, row string
		// change changes the lead. It may be nil.
		change func(*clixnow.Lead)
	}{
		{"", "N,click-N,visitorN@example.com,2021-11-05,no,acme\n", none},
		{"missing_there", "N,click-N,visitorN@example.com,2021-11-05,no,acme\n", nil},
		{"missing_there", ",click-N,visitorN@example.com,2021-11-05,no,acme\n", nil},
		{"click_id_differs", "N,CLICK-N,visitorN@example.com,2021-11-05,no,acme\n", none},
		{"click_id_differs", ",click-N-and-more,,2021-11-05,no,acme\n", none},
		{"email_differs", ",click-N,anna@example.com,2021-11-05,no,acme\n", none},
		{"deposit_only_here", "N,,,2021-11-05,2021-11-07,acme\n", none},
		{"deposit_withdrawn", "N,,,2021-11-05,2021-11-05,acme\n", none},
		{"deposit_only_there", "N,,,2021-11-05,no,acme\n", deposited(at(7, 9))},
		{"deposit_date_differs", "N,,,2021-11-05,2021-11-05,acme\n", deposited(at(7, 9))},
		{"other_brand", ",click-N,,2021-11-05,no,beta\n", none},
		{"unknown_here", "", none},
		{"unmoved_deposit", "N,,,2021-11-05,yes,acme\n", unmoved},
		{"", "N,,,2021-10-05,no,acme\n", nil},
	}
	for i, a := range blocks {
		for j, b := range blocks {
			t.Run(fmt.Sprint(i, a.kind, " and ", j, b.kind), func(t *testing.T) {
				t.Parallel()
				brand := clixnowtest.NewServer()
				defer brand.Close()
				brand.AddLeads(lead(900, deposited(at(8, 0)))) // so that the brand shows deposits
				file := []string{"lead_id,click_id,email,registered,ftd,brand\n900,,,,yes,\n"}
				var want []string
				for k, block := range []struct {
					kind, row string
					change    func(*clixnow.Lead)
				}{a, b} {
					id := int64(101 + k)
					file = append(file, strings.ReplaceAll(block.row, "N", strconv.FormatInt(id, 10)))
					if block.change != nil {
						brand.AddLeads(lead(id, block.change))
					}
					if block.kind != "" {
						want = append(want, block.kind)
					}
				}
				path := write(t, strings.Join(file, ""))
				got := run(t, brand, "--from", "2021-11-01", "--to", "2021-11-30", "-o", "json", path)
				var kinds []string
				for _, line := range got.findings(t) {
					kinds = append(kinds, strings.Fields(line)[0])
				}
				assert.ElementsMatch(t, want, kinds, got.out)
			})
		}
	}
}

// TestYoung uses the clock, because what is too young depends on it.
func TestYoung(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	young, old := now.Add(-10*time.Minute), now.Add(-3*time.Hour)
	brand := clixnowtest.NewServer()
	defer brand.Close()
	created := func(c time.Time) func(*clixnow.Lead) {
		return func(l *clixnow.Lead) { l.CreatedOn, l.UpdatedOn = c, c }
	}
	brand.AddLeads(
		lead(1, created(young)), lead(2, created(old)),
		lead(3, func(l *clixnow.Lead) { l.CreatedOn, l.UpdatedOn, l.FTDDate = old, young, young }),
		lead(4, created(old)),
	)
	oldTime, youngTime := old.Format(time.RFC3339), young.Format(time.RFC3339)
	file := write(t, "click_id,registered,ftd\nclick-3,"+oldTime+",no\nclick-4,"+oldTime+","+youngTime+"\n"+
		"click-5,"+youngTime+",no\nclick-6,"+oldTime+",no\n")
	from := old.AddDate(0, 0, -1).Format(time.DateOnly)
	got := run(t, brand, "--from", from, "-o", "json", file)
	assert.Equal(t, []string{
		"missing_there f.csv:5 0 click-6", "unknown_here 2 click-2", "too_young f.csv:4 0 click-5 the registration",
		"too_young 1 click-1 the lead", "too_young f.csv:2 3 click-3 the first deposit",
		"too_young f.csv:3 4 click-4 the first deposit",
	}, got.findings(t))
	got = run(t, brand, "--from", from, "--lag", "1m", "-o", "json", file)
	assert.NotContains(t, got.out, "too_young")
}

func TestUnmovedDeposits(t *testing.T) {
	t.Parallel()
	unmoved := func(l *clixnow.Lead) { l.FTDDate = at(7, 9) } // changed on the sixth
	before := func(l *clixnow.Lead) { l.CreatedOn, l.UpdatedOn, l.FTDDate = at(-60, 0), at(-50, 0), at(7, 9) }
	for _, test := range []struct {
		name  string
		leads []clixnow.Lead
		hide  string
		want  string
		found []string
	}{
		{"none", []clixnow.Lead{lead(1, nil)}, "", "No first deposit was made in the period", nil},
		{
			"moved",
			[]clixnow.Lead{lead(1, deposited(at(7, 9)))},
			"",
			"Each first deposit of the period (1) is also found", nil,
		},
		{
			"within the tolerance", []clixnow.Lead{lead(1, func(l *clixnow.Lead) {
				l.FTDDate, l.UpdatedOn = at(7, 9), at(7, 9).Add(-time.Minute)
			})}, "", "Each first deposit of the period (1) is also found", nil,
		},
		{
			"changed later",
			[]clixnow.Lead{lead(1, func(l *clixnow.Lead) { l.FTDDate, l.UpdatedOn = at(7, 9), at(20, 0) })},
			"", "Each first deposit of the period (1) is also found", nil,
		},
		{
			"unmoved",
			[]clixnow.Lead{lead(1, unmoved), lead(2, before), lead(3, deposited(at(8, 0)))},
			"",
			"2 of 3 first deposits of the period did not move updatedOn",
			[]string{
				"unmoved_deposit f.csv:2 1 click-1 a reading by updatedOn does not show this deposit",
				"unmoved_deposit f.csv:3 2 click-2 a reading by updatedOn does not show this deposit",
			},
		},
		{
			"after the period",
			[]clixnow.Lead{lead(1, func(l *clixnow.Lead) { l.FTDDate = at(31, 1) })},
			"",
			"No first deposit was made in the period", nil,
		},
		{
			"deposits hidden",
			[]clixnow.Lead{lead(1, unmoved)},
			"ftdDate",
			"cannot be tested: the brand hides the\ndates", nil,
		},
		{
			"changes hidden",
			[]clixnow.Lead{lead(1, unmoved)},
			"updatedOn",
			"cannot be tested: the brand hides\nupdatedOn", nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			brand := clixnowtest.NewServer(clixnowtest.WithHiddenFields(test.hide))
			defer brand.Close()
			brand.AddLeads(test.leads...)
			file := write(t, "lead_id\n1\n2\n3\n"[:len("lead_id\n")+2*len(test.leads)])
			got := run(t, brand, "--from", "2021-11-01", "--to", "2021-11-30", "-o", "json", file)
			assert.Equal(t, test.found, got.findings(t))
			assert.Contains(t, got.errs, test.want)
			assert.Zero(t, got.code, got.errs)
		})
	}
}

func TestEmails(t *testing.T) {
	t.Parallel()
	brand := clixnowtest.NewServer()
	defer brand.Close()
	brand.AddLeads(lead(1, nil))
	file := write(t, "lead_id,email,password\n1,anna@example.com,Secret-1!\n2,,Secret-2!\n")
	for _, format := range []string{"table", "csv", "json", "jsonl"} {
		got := run(t, brand, "--from", "2021-11-01", "--to", "2021-11-30", file, "-o", format)
		assert.NotContains(t, got.out+got.errs, "@")
		got = run(t, brand, "--from", "2021-11-01", "--to", "2021-11-30", file, "-o", format, "--emails")
		assert.Equal(t, format != "table", strings.Contains(got.out, "anna@example.com"))
		assert.Equal(t, format != "table", strings.Contains(got.out, "visitor1@example.com"))
		assert.NotContains(t, got.out+got.errs, "Secret")
	}
}

// TestLookups has more registrations without a lead than are looked up.
func TestLookups(t *testing.T) {
	t.Parallel()
	brand := clixnowtest.NewServer()
	defer brand.Close()
	var file strings.Builder
	file.WriteString("lead_id,registered\n")
	for i := range 300 {
		fmt.Fprintf(&file, "%d,%s\n", i+1, []string{"2021-11-05", ""}[i%2])
	}
	got := run(t, brand, "--from", "2021-11-01", "--to", "2021-11-30", "-o", "json", write(t, file.String()))
	lines := strings.Join(got.findings(t), "\n")
	assert.Equal(t, 250, strings.Count(lines, "missing_there"))
	assert.Equal(t, 50, strings.Count(lines, "and was not looked up by its id"))
	assert.Equal(t, 50, strings.Count(lines, "cannot_tell"))
	assert.Equal(t, 1, got.code)
	assert.Less(t, len(brand.Requests()), 210)
}
