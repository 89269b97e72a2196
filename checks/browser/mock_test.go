package browser_test

import (
	"context"
	"fmt"
	"os/exec"
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

	// The order is: Refresh, then the newest lead with its status, Save and
	// "Mark deposit".
	press(ctx, t, kb.Tab, kb.Tab)
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
	assert.True(t, evaluate[bool](ctx, t, `document.querySelector("tr:target").id == "lead-123457"`),
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
		chromedp.Do(ctx, withoutScripts(), chromedp.EmulateViewport(1100, 700), chromedp.Navigate(address+"/_mock/"),
			chromedp.SendKeys(field, "POST status=nope")))
	enter(ctx, t)
	require.NoError(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(`[role="alert"]`))))
	waitForFocus(ctx, t, "fault") // so it can be corrected at once
	typed, err := chromedp.Run(ctx, chromedp.Value(field))
	require.NoError(t, err)
	assert.Equal(t, "POST status=nope", typed)

	require.NoError(t,
		chromedp.Do(ctx, chromedp.SendKeys(field, kb.End+strings.Repeat(kb.Backspace, 4)+"502 handle-first")))
	enter(ctx, t)
	require.NoError(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("#faults:target"))))
	_, err = client.CreateLead(t.Context(), registration(0))
	require.ErrorIs(t, err, clixnow.ErrOutcomeUnknown)
	registerAtMock(t, client, 1, 2, 3)
	_, err = client.CreateLead(t.Context(), registration(1))
	require.ErrorIs(t, err, clixnow.ErrDuplicateLead)

	require.NoError(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS("header a")),
		chromedp.Click(chromedp.CSS(`[aria-label="Mark deposit of lead 123458"]`)),
		chromedp.WaitVisible(chromedp.CSS(`[aria-label="Withdraw deposit of lead 123458"]`)),
		chromedp.SendKeys(field, "GET status=429 header=Retry-After:5")))
	enter(ctx, t)
	require.NoError(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("#faults:target"))))
	assertFits(ctx, t)
	screenshot(ctx, t, "mock.png")
}

// startMock runs cmd/clixnow/mock as a user would, and returns a client of it
// and its address. The test stops it by SIGINT, as Ctrl-C does.
func startMock(t *testing.T) (client *clixnow.Client, address string) {
	t.Helper()
	program := build(t, "mock")
	command := exec.CommandContext(context.WithoutCancel(t.Context()), program, "-addr", "127.0.0.1:0")
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
