package browser_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

func TestMockByKeyboardOnPhone(t *testing.T) {
	t.Parallel()
	client, address := startMock(t)
	registerAtMock(t, client, 0, 1)
	ctx := openBrowser(t)
	require.NoError(t, chromedp.Do(ctx, withoutScripts(),
		chromedp.EmulateViewport(320, 568, chromedp.EmulateMobile, chromedp.EmulateTouch),
		chromedp.Navigate(address+"/")))
	assertFits(ctx, t)

	// The order is: the parts of the page, Refresh, the search, then the newest
	// lead with its details, status, Save and "Mark deposit".
	press(ctx, t, strings.Repeat(kb.Tab, 8))
	require.Equal(t, "Status of lead 123457", evaluate[string](ctx, t, `document.activeElement.ariaLabel`))
	require.Equal(t, "New", evaluate[string](ctx, t, `getSelection().toString()`),
		"what is typed replaces the old status")
	press(ctx, t, "Call back")
	enter(ctx, t)
	awaitLead(t, client, 123457, func(lead *clixnow.Lead) bool { return lead.Status == "Call back" && !lead.HasFTD() })

	require.NoError(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`[aria-label="Mark deposit of lead 123457"]`))))
	awaitLead(t, client, 123457, func(lead *clixnow.Lead) bool { return lead.Status == "Call back" && lead.HasFTD() })
	require.NoError(t,
		chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(`[aria-label="Withdraw deposit of lead 123457"]`))))
	assert.True(t, evaluate[bool](ctx, t, `document.querySelector("li:target").id == "lead-123457"`),
		"the page comes back to the lead")
	assertFits(ctx, t)
	awaitLead(t, client, 123456, func(lead *clixnow.Lead) bool { return lead.Status == "New" && !lead.HasFTD() })
}

func TestMockFaults(t *testing.T) {
	t.Parallel()
	client, address := startMock(t)
	ctx := openBrowser(t)
	field := chromedp.CSS("#fault")
	require.NoError(t,
		chromedp.Do(ctx, withoutScripts(), chromedp.EmulateViewport(1400, 800), chromedp.Navigate(address+"/_mock/"),
			chromedp.SendKeys(field, "POST status=nope")))
	enter(ctx, t)
	require.NoError(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(`[role="alert"]`))))
	waitForFocus(ctx, t, "fault") // so it can be corrected at once
	assert.Equal(t, "POST status=nope", evaluate[string](ctx, t, `document.getElementById("fault").value`))

	require.NoError(t,
		chromedp.Do(ctx, chromedp.SendKeys(field, kb.End+strings.Repeat(kb.Backspace, 4)+"502 handle-first")))
	enter(ctx, t)
	require.NoError(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("#faults:target"))))
	_, err := client.CreateLead(t.Context(), registration(0))
	require.ErrorIs(t, err, clixnow.ErrOutcomeUnknown)
	registerAtMock(t, client, 1, 2, 3)
	_, err = client.CreateLead(t.Context(), registration(1))
	require.ErrorIs(t, err, clixnow.ErrDuplicateLead)

	require.NoError(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#refresh")),
		chromedp.Click(chromedp.CSS(`[aria-label="Mark deposit of lead 123458"]`)),
		chromedp.WaitVisible(chromedp.CSS(`[aria-label="Withdraw deposit of lead 123458"]`)),
		chromedp.SendKeys(field, "GET status=429 header=Retry-After:5")))
	enter(ctx, t)
	require.NoError(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("#faults:target"))))
	assertFits(ctx, t)
}

// TestMockUpdatesItself checks that the page shows what happens, and does not
// disturb who uses it.
func TestMockUpdatesItself(t *testing.T) {
	t.Parallel()
	client, address := startMock(t)
	ctx := openBrowser(t)
	wait := func(expression string) {
		t.Helper()
		_, err := chromedp.Run(ctx, chromedp.Poll[bool]("!!("+expression+")"))
		require.NoError(t, err)
	}
	require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(1400, 800), chromedp.Navigate(address+"/")))
	wait(`document.querySelector("#live").dataset.state === "Live"`)
	registerAtMock(t, client, 0)
	wait(`document.querySelector("#lead-123456.fresh")`)
	wait(`document.querySelector("#counts").textContent.includes("Leads 1")`)

	// What is open stays open, and the focus stays.
	require.NoError(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#lead-123456 summary"))))
	registerAtMock(t, client, 1)
	wait(`document.querySelector("#lead-123457")`)
	assert.True(t, evaluate[bool](ctx, t, `document.querySelector("#lead-123456 details").open`))
	assert.True(t, evaluate[bool](ctx, t, `document.activeElement.matches("#lead-123456 summary")`))
	assert.Contains(t, evaluate[string](ctx, t, `document.querySelector("#lead-123456 pre").textContent`),
		`"firstName": "Allison"`)

	// What is being typed is not replaced. It is sent without a new page.
	evaluate[bool](ctx, t, `window.samePage = true`)
	evaluate[bool](ctx, t, `!document.querySelector("#lead-123456 [name=status]").select()`)
	press(ctx, t, "Call")
	registerAtMock(t, client, 2)
	wait(`document.querySelector("#counts").textContent.includes("Leads 3")`)
	press(ctx, t, " back")
	enter(ctx, t)
	awaitLead(t, client, 123456, func(lead *clixnow.Lead) bool { return lead.Status == "Call back" })
	wait(`document.querySelector("#lead-123458")`)
	assert.True(t, evaluate[bool](ctx, t, "window.samePage"))

	require.NoError(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#live"))))
	wait(`document.querySelector("#live").textContent === "Paused"`)
	registerAtMock(t, client, 3)
	isShown, err := chromedp.Run(ctx, chromedp.Evaluate[bool](
		`new Promise(done => setTimeout(() => done(!!document.querySelector("#lead-123459")), 1500))`,
		chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	assert.False(t, isShown)
	require.NoError(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#live"))))
	wait(`document.querySelector("#lead-123459")`)
}

// TestMockAccessible looks for barriers on the page with everything that it can
// show, on an empty page and on a search with several pages.
func TestMockAccessible(t *testing.T) {
	t.Parallel()
	client, address := startMock(t, "--search-delay", "1ms", "--hide", "crmId")
	_, empty := startMock(t)
	_, demo := startMock(t, "--demo")
	ctx := openBrowser(t)
	registerAtMock(t, client, 0, 1, 2, 3, 4)
	_, err := client.CreateLead(t.Context(), registration(1))
	require.ErrorIs(t, err, clixnow.ErrDuplicateLead)
	_, err = client.SearchLeadsPage(t.Context(), clixnow.SearchLeadsRequest{})
	require.NoError(t, err)
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(address+"/"),
		chromedp.Click(chromedp.CSS(`[aria-label="Mark deposit of lead 123458"]`)),
		chromedp.WaitVisible(chromedp.CSS(`[aria-label="Withdraw deposit of lead 123458"]`)),
		chromedp.Click(chromedp.CSS(".quick button"))))
	for _, scheme := range []string{"light", "dark"} {
		for name, width := range map[string]int64{"wide": 1440, "phone": 390} {
			require.NoError(t, chromedp.Do(ctx, withScheme(scheme), chromedp.EmulateViewport(width, 844)))
			check := func(state string) {
				assertFits(ctx, t)
				assertAccessible(ctx, t)
				keepPicture(ctx, t, state+"-"+name+"-"+scheme+".png")
			}
			for state, page := range map[string]string{"empty": empty + "/", "search": demo + "/_mock/?q=example"} {
				require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(page),
					chromedp.WaitVisible(chromedp.CSS("#live"))))
				check(state)
			}
			require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(address+"/"),
				chromedp.WaitVisible(chromedp.CSS("#live"))))
			if name == "wide" && scheme == "light" {
				screenshot(ctx, t, "mock.png")
			}
			require.NoError(t, chromedp.Do(ctx,
				chromedp.Click(chromedp.CSS("#lead-123459 summary")),
				chromedp.Click(chromedp.CSS(".requests summary")),
				chromedp.SendKeys(chromedp.CSS("#fault"), "POST status=nope")))
			enter(ctx, t)
			require.NoError(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(`[role="alert"]`))))
			check("full")
		}
	}
}

// startMock runs "clixnow mock" as a user would, and returns a client of it and
// its address. The test stops it by SIGINT, as Ctrl-C does.
func startMock(t *testing.T, args ...string) (client *clixnow.Client, address string) {
	t.Helper()
	args = append([]string{"mock", "--addr", "127.0.0.1:0"}, args...)
	command := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(programs, "clixnow"), args...)
	out := new(printed)
	command.Stdout, command.Stderr = out, out
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		assert.NoError(t, command.Process.Signal(syscall.SIGINT))
		assert.NoError(t, command.Wait())
	})
	require.Eventually(t, func() bool {
		address = regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(out.String())
		return address != ""
	}, time.Minute, 10*time.Millisecond)
	client, err := clixnow.NewClient("acme", "CfDJ8-clixnowtest-token", clixnow.WithBaseURL(address))
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client, address
}

// printed is the output of a program so far.
type printed struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *printed) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(data)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// registration returns the sign-up of person number 0 to 4.
func registration(person int) clixnow.CreateLeadRequest {
	name := []string{"Allison", "Bruno", "Chloe", "Davide", "Elena"}[person]
	return clixnow.CreateLeadRequest{
		FirstName: name, LastName: "Brown", Email: strings.ToLower(name) + ".brown@example.com",
		Phone:    fmt.Sprintf("+4179555010%d", person),
		Password: "Password123!", CountryCode: "CH", SubCampaign: "autumn",
	}
}

func registerAtMock(t *testing.T, client *clixnow.Client, persons ...int) {
	t.Helper()
	for _, person := range persons {
		_, err := client.CreateLead(t.Context(), registration(person))
		require.NoError(t, err)
	}
}

// awaitLead waits until a search shows the lead in the wanted state.
func awaitLead(t *testing.T, client *clixnow.Client, id int64, is func(*clixnow.Lead) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		lead, err := client.GetLead(t.Context(), id)
		return err == nil && is(lead)
	}, time.Minute, 10*time.Millisecond)
}
