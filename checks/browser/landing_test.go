package browser_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestLandingByKeyboardOnPhone(t *testing.T) {
	t.Parallel()
	fake := clixnowtest.NewServer()
	t.Cleanup(fake.Close)
	address := startLanding(t, fake)
	ctx := openBrowser(t)
	arrivals := watchBroker(ctx, t)
	require.NoError(t, chromedp.Do(ctx, withoutScripts(),
		chromedp.EmulateViewport(320, 568, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait)))

	response,
		err := chromedp.Run(ctx,
		chromedp.NavigateResponse(address+"?subcampaign=autumn&clickid=tracker-1&utm_source=news"))
	require.NoError(t, err)
	require.EqualValues(t, 200, response.Status)
	assertFits(ctx, t)

	// The visitor fills all fields except one. Each Tab moves to the next field
	// in reading order.
	press(ctx, t, kb.Tab, "Allison", kb.Tab, "Brown", kb.Tab, "allison.brown@example.com", kb.Tab)
	waitForFocus(ctx, t, "phone")
	press(ctx, t, kb.Tab, "Switz", kb.Tab, " ", kb.Tab, kb.Tab)
	waitForFocus(ctx, t, "BUTTON")
	enter(ctx, t)
	require.NoError(t, chromedp.Do(ctx, chromedp.WaitReady(chromedp.CSS("#problems"))))

	waitForFocus(ctx, t, "problems") // so a screen reader starts with the faults
	title, err := chromedp.Run(ctx, chromedp.Title())
	require.NoError(t, err)
	assert.Equal(t, "Error: Create your account", title)
	assertFits(ctx, t)
	for name, typed := range map[string]string{
		"firstName": "Allison", "email": "allison.brown@example.com", "phone": "",
		"countryCode": "CH",
	} {
		value, err := chromedp.Run(ctx, chromedp.Value(chromedp.CSS("#"+name)))
		require.NoError(t, err)
		assert.Equal(t, typed, value, name)
	}
	assert.True(t, evaluate[bool](ctx, t, `document.getElementById("acceptTermsAndConditions").checked`))
	description := evaluate[string](ctx, t,
		`document.getElementById("phone").getAttribute("aria-describedby").split(" ").map(
		id => document.getElementById(id).textContent).join("; ")`)
	assert.Equal(t,
		"With the country code, like +41\u00a079\u00a0555\u00a001\u00a002; Error: Enter your phone number", description)
	require.NoError(t,
		chromedp.Do(ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateScale(2))))
	screenshot(ctx, t, "landing.png")

	// The first link of the summary leads to the field.
	press(ctx, t, kb.Tab)
	enter(ctx, t)
	waitForFocus(ctx, t, "phone")
	press(ctx, t, "+41 79 555 01 02")
	enter(ctx, t)
	assertAtBroker(ctx, t, fake)
	arrival := <-arrivals
	assert.NotContains(t, arrival.Headers, "Referer", "the brand learns nothing of our address")
	leads := fake.Leads()
	require.Len(t, leads, 1)
	assert.Equal(t, "allison.brown@example.com", leads[0].Email)
	assert.Equal(t, "autumn", leads[0].SubCampaign)
	assert.Equal(t, "tracker-1", leads[0].ClickID)
	var sent struct{ Phone, CountryCode, IPAddress string }
	require.NoError(t, json.Unmarshal(fake.Requests()[0].Body, &sent))
	assert.Equal(t, "+41795550102", sent.Phone)
	assert.Equal(t, "CH", sent.CountryCode)
	assert.Equal(t, "127.0.0.1", sent.IPAddress)
}

func TestLandingDoubleClickWhileSlow(t *testing.T) {
	t.Parallel()
	fake := clixnowtest.NewServer()
	t.Cleanup(fake.Close)
	// longer than the page waits
	fake.Inject(clixnowtest.Fault{Method: "POST", HandleFirst: true, Delay: 7 * time.Second})
	address := startLanding(t, fake)
	ctx := openBrowser(t)
	posts := countPosts(ctx, t)
	require.NoError(t,
		chromedp.Do(ctx, withoutScripts(), chromedp.EmulateViewport(1280, 900), chromedp.Navigate(address)))
	assertFits(ctx, t)
	press(ctx, t, kb.Tab, "Allison", kb.Tab, "Brown", kb.Tab, "allison.brown@example.com", kb.Tab, "+41123456789",
		kb.Tab, "Switz", kb.Tab, " ")

	box, err := chromedp.Run(ctx, chromedp.Dimensions(chromedp.CSS("button")))
	require.NoError(t, err)
	click := chromedp.MouseClickXY(box.Border[0]+10, box.Border[1]+10)
	require.NoError(t, chromedp.Do(ctx, click))
	require.Eventually(t, func() bool { return len(fake.Requests()) == 1 }, time.Minute, 10*time.Millisecond)
	require.NoError(t, chromedp.Do(ctx, click, chromedp.WaitVisible(chromedp.CSS("progress"))))
	assertFits(ctx, t)
	assertAtBroker(ctx, t, fake) // the page continues by itself
	assert.EqualValues(t, 2, posts.Load())
	assert.Len(t, fake.Leads(), 1)
}

// startLanding runs cmd/clixnow/landing as a user would, against a fake
// Clixnow, and returns its address. The test stops it by SIGTERM, and it must
// exit with 0.
func startLanding(t *testing.T, fake *clixnowtest.Server) (address string) {
	t.Helper()
	program := build(t, "landing")
	command := exec.CommandContext(context.WithoutCancel(t.Context()), program, "-brand", fake.Brand, "-api", fake.URL)
	command.Env = append(os.Environ(), "CLIXNOW_TOKEN="+fake.Token)
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		assert.NoError(t, command.Process.Signal(syscall.SIGTERM))
		assert.NoError(t, command.Wait())
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	address, found := strings.CutPrefix(line, "Open ")
	require.True(t, found, line)
	address, _, _ = strings.Cut(address, "?")
	return address
}

// watchBroker reports the requests for the page of the fake to which a
// registered visitor is redirected.
func watchBroker(ctx context.Context, t *testing.T) <-chan *network.Request {
	t.Helper()
	arrivals := make(chan *network.Request, 10)
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		sent, ok := event.(*network.EventRequestWillBeSent)
		if ok && strings.Contains(sent.Request.URL, "/autologin?") {
			arrivals <- sent.Request
		}
	}))
	return arrivals
}

// countPosts counts the forms that the browser sends.
func countPosts(ctx context.Context, t *testing.T) *atomic.Int32 {
	t.Helper()
	posts := new(atomic.Int32)
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		if sent, ok := event.(*network.EventRequestWillBeSent); ok && sent.Request.Method == "POST" {
			posts.Add(1)
		}
	}))
	return posts
}

// assertAtBroker waits until the visitor is logged in at the page of the fake.
func assertAtBroker(ctx context.Context, t *testing.T, fake *clixnowtest.Server) {
	t.Helper()
	loggedIn := chromedp.Search(`//p[contains(text(), "You are logged in as lead")]`)
	require.NoError(t, chromedp.Do(ctx, chromedp.WaitReady(loggedIn)))
	location, err := chromedp.Run(ctx, chromedp.Location())
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(location, fake.URL+"/autologin?token="), location)
}

// withoutScripts turns off the JavaScript of pages. Scripts of the test still
// run.
func withoutScripts() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_,
			err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled,
			emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})
}
