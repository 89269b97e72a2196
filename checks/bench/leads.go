package main

import (
	"fmt"
	"strconv"
	"time"
)

const pageSize = 1000

// leadList is the JSON of many leads. A page is a part of it and needs no
// encoding.
type leadList struct {
	// text is "{...},{...},".
	text []byte
	// starts holds the offset of each lead in text, and the end.
	starts []int
}

// makeLeads returns n leads as a .NET server would print them: with nulls,
// absent fields, ids that are numbers and ids that are text, and dates with and
// without a zone. Some non-ASCII text is escaped, as .NET's default encoder
// does, and some is not. The order by id is the order by creation and by
// modification.
func makeLeads(n int) *leadList {
	l := &leadList{text: make([]byte, 0, n*400), starts: make([]int, 0, n+1)}
	for i := range n {
		l.starts = append(l.starts, len(l.text))
		l.text = append(appendLead(l.text, i), ',')
	}
	l.starts = append(l.starts, len(l.text))
	return l
}

// cut returns at most count of the first total leads, from skip on, without
// brackets.
func (l *leadList) cut(total, skip, count int) []byte {
	total = min(total, len(l.starts)-1)
	from := min(skip, total)
	to := min(from+count, total)
	if from == to {
		return nil
	}
	return l.text[l.starts[from] : l.starts[to]-1]
}

var (
	statuses   = []string{"New", "No Answer", `Call back \u0026 confirm`, "Deposited", "Not interested", "Wrong number"}
	brands     = []string{"Example Markets", "Northwind Trading", `Z\u00FCrich Capital`, "Contoso FX", "Fabrikam"}
	campaigns  = []string{"spring-sale", "retargeting-7", "lookalike_1pct", "brand \\/ exact"}
	keywords   = []string{`"online trading"`, `"how to invest"`, "null", `"трейдинг онлайн"`, `""`}
	placements = []string{`"landing_page"`, `"sidebar"`, "null", `"exit-popup"`}
	started    = time.Date(2023, 1, 2, 3, 4, 5, 302_000_000, time.UTC)
)

func appendLead(b []byte, i int) []byte {
	id := 1_000_000 + i
	b = fmt.Appendf(b, `{"id":%d,"email":"%s","status":"%s","crmId":`, id, email(i), pick(statuses, i))
	switch i % 4 {
	case 0, 1:
		b = strconv.AppendInt(b, int64(40_000_000+7*i), 10)
	case 2:
		b = fmt.Appendf(b, `"%08x-9c0b-4ef8-bb6d-%012x"`, id, 977*i)
	default:
		b = append(b, "null"...)
	}
	b = fmt.Appendf(b, `,"brandId":%d,"brandName":"%s"`, 11+i%len(brands), pick(brands, i))
	created := started.Add(time.Duration(i) * 37 * time.Second)
	b = fmt.Appendf(b, `,"createdOn":"%s","updatedOn":"%s"`, date(created, i), date(created.Add(5*time.Hour), i))
	switch i % 8 {
	case 3:
		b = fmt.Appendf(b, `,"ftdDate":"%s"`, date(created.Add(4*time.Hour), i))
	case 6: // the field is absent
	default:
		b = append(b, `,"ftdDate":null`...)
	}
	if i%5 == 0 {
		b = fmt.Appendf(b, `,"clickId":%d`, 90_000_000+i)
	} else {
		b = fmt.Appendf(b, `,"clickId":"20fn4ngo%09x"`, 31*i)
	}
	clientType := "Client"
	if i%8 == 3 {
		clientType = "Depositor"
	}
	return fmt.Appendf(b, `,"sub2":"banner-%d","subCampaign":"%s","keyword":%s,"placement":%s,"clientType":"%s"}`,
		i%50, pick(campaigns, i), pick(keywords, i), pick(placements, i/2), clientType)
}

func pick(from []string, i int) string { return from[i%len(from)] }

func email(i int) string {
	if i%10 == 7 {
		return fmt.Sprintf(`first.last\u002B%d@example.com`, i)
	}
	return fmt.Sprintf("first.last%d@example.com", i)
}

// date prints a date. One of six has no zone and seven digits, as .NET prints
// dates of unspecified kind.
func date(t time.Time, i int) string {
	if i%6 == 1 {
		return t.Format("2006-01-02T15:04:05.0000000")
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}
