package browser_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

func TestFormByKeyboardOnPhone(t *testing.T) {
	t.Parallel()
	address := startGateway(t)
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
	press(ctx, t, kb.Tab, "Allison", kb.Tab, "Brown", kb.Tab, "allison.brown@example.com", kb.Tab, "Switz", kb.Tab)
	waitForFocus(ctx, t, "phone")
	press(ctx, t, kb.Tab, " ", kb.Tab, kb.Tab)
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
		value := evaluate[string](ctx, t, `document.getElementById("`+name+`").value`)
		assert.Equal(t, typed, value, name)
	}
	assert.True(t, evaluate[bool](ctx, t, `document.getElementById("acceptTermsAndConditions").checked`))
	description := evaluate[string](ctx, t,
		`document.getElementById("phone").getAttribute("aria-describedby").split(" ").map(
		id => document.getElementById(id).textContent).join("; ")`)
	assert.Equal(t, "For example 079\u00a0555\u00a001\u00a002 or +41\u00a079\u00a0555\u00a001\u00a002; "+
		"Error: Enter your phone number", description)
	assert.Contains(t, evaluate[string](ctx, t, "location.search"), "clickid=tracker-1", "a reload keeps the tracking")
	require.NoError(t,
		chromedp.Do(ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateScale(2))))
	screenshot(ctx, t, "form.png")

	// The first link of the summary leads to the field.
	press(ctx, t, kb.Tab)
	enter(ctx, t)
	waitForFocus(ctx, t, "phone")
	press(ctx, t, "079 555 01 02")
	enter(ctx, t)
	assertAtBroker(ctx, t)
	arrival := <-arrivals
	assert.NotContains(t, arrival.Headers, "Referer", "the brand learns nothing of our address")
}

// TestFormDoubleClickWhileSlow is about a visitor who clicks twice, waits, and
// goes back. The visitor is registered once, and the page goes on by itself.
func TestFormDoubleClickWhileSlow(t *testing.T) {
	t.Parallel()
	fake, address := startSlowGateway(t)
	fake.Inject(clixnowtest.Fault{Method: "POST", HandleFirst: true, Delay: 7 * time.Second}) // longer than --wait
	ctx := openBrowser(t)
	posts := countPosts(ctx, t)
	require.NoError(t,
		chromedp.Do(ctx, withoutScripts(), chromedp.EmulateViewport(1280, 900), chromedp.Navigate(address)))
	assertFits(ctx, t)
	fillIn(ctx, t)
	box, err := chromedp.Run(ctx, chromedp.Dimensions(chromedp.CSS("button")))
	require.NoError(t, err)
	click := chromedp.MouseClickXY(box.Border[0]+10, box.Border[1]+10)
	require.NoError(t, chromedp.Do(ctx, click))
	require.Eventually(t, func() bool { return len(fake.Requests()) == 1 }, time.Minute, 10*time.Millisecond)
	require.NoError(t, chromedp.Do(ctx, click, chromedp.WaitVisible(chromedp.CSS("progress"))))
	assertFits(ctx, t)
	assert.EqualValues(t, 2, posts.Load())

	// The button Back shows the same form with the same values.
	// chromedp.NavigateBack would wait for a load, which the cached page does
	// not need.
	evaluate[bool](ctx, t, `!history.back()`)
	require.Eventually(t, func() bool {
		return evaluate[string](ctx, t, `document.getElementById("email")?.value || ""`) == "allison.brown@example.com"
	}, time.Minute, 10*time.Millisecond)
	evaluate[bool](ctx, t, `!document.querySelector("form button").click()`)
	require.Eventually(t, func() bool { // http redirect URLs are only for --demo
		return evaluate[string](ctx, t, "document.title") == "Thank you, you are signed up"
	}, time.Minute, 100*time.Millisecond)
	assert.Len(t, fake.Leads(), 1)
}

// TestFormCorrectedWhileWaiting is about a visitor who sees a typo while the
// sign-up waits for a brand that is down.
func TestFormCorrectedWhileWaiting(t *testing.T) {
	t.Parallel()
	fake, address := startSlowGateway(t, "--wait", "0s")
	token := fake.Token
	fake.SetToken("another")
	ctx := openBrowser(t)
	require.NoError(t, chromedp.Do(ctx, withoutScripts(), chromedp.Navigate(address)))
	fillIn(ctx, t)
	enter(ctx, t)
	require.NoError(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`a[href$="/correct"]`)),
		chromedp.WaitVisible(chromedp.CSS("#email")), chromedp.SendKeys(chromedp.CSS("#email"), kb.End+".au")))
	enter(ctx, t)
	require.NoError(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("progress"))))
	fake.SetToken(token)
	require.Eventually(t, func() bool { return len(fake.Leads()) == 1 }, time.Minute, 100*time.Millisecond)
	assert.Equal(t, "allison.brown@example.com.au", fake.Leads()[0].Email)
}

// TestFormAccessible looks for barriers on the pages of the form, at the sizes
// and in the colours that visitors use.
func TestFormAccessible(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"light", "dark"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			checkForm(t, scheme)
		})
	}
}

// checkForm checks each page at each size.
func checkForm(t *testing.T, scheme string) {
	t.Helper()
	fake, address := startSlowGateway(t, "--wait", "0s")
	ctx := openBrowser(t)
	send := func(page string) {
		t.Helper()
		fillIn(ctx, t)
		enter(ctx, t)
		require.NoError(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.Search(page))))
	}
	for name, screen := range map[string]struct {
		width int64
		scale float64
	}{"wide": {1280, 1}, "phone": {390, 2}, "zoomed to 200 %": {640, 2}, "zoomed to 400 %": {320, 4}} {
		require.NoError(t, chromedp.Do(ctx, withScheme(scheme),
			chromedp.EmulateViewport(screen.width, 844, chromedp.EmulateScale(screen.scale))))
		check := func(state string) {
			assertFits(ctx, t)
			assertAccessible(ctx, t)
			keepPicture(ctx, t, strings.ReplaceAll(state+"-"+name+"-"+scheme+".png", " ", "-"))
		}
		open := func() {
			require.NoError(t,
				chromedp.Do(ctx, chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS("#email"))))
		}
		open()
		check("form")
		press(ctx, t, kb.Tab, "Allison", kb.Tab, kb.Tab, "allison")
		enter(ctx, t)
		require.NoError(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("#problems"))))
		check("mistakes")
		open()
		fake.Inject(clixnowtest.Fault{
			Method: "POST", Status: 400, Body: `{"message":"Duplicate lead"}`,
			Delay: time.Second,
		})
		send("//progress")
		// The page loads itself again, but not while it is checked.
		evaluate[chromedp.Void](ctx, t, "window.stop()")
		check("waiting")
		require.NoError(t, chromedp.Do(ctx, chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS("#problems"))))
		check("refused")
		open()
		fake.Inject(clixnowtest.Fault{Method: "POST", Status: 200, Body: `{"leadId":7}`})
		send(`//h1[contains(text(), "Thank you")]`)
		check("thanks")
		require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(address+"registration/x")))
		check("not-found")
	}
}

// fillIn fills in the form by the keyboard, from the top of the page. The focus
// is then on a field from which Enter sends the form.
func fillIn(ctx context.Context, t *testing.T) {
	t.Helper()
	press(ctx, t, kb.Tab, "Allison", kb.Tab, "Brown", kb.Tab, "allison.brown@example.com", kb.Tab, "Switz", kb.Tab,
		"+41 79 555 01 02", kb.Tab, " ")
}

// startGateway runs "clixnow serve --demo" as a user would, and returns the
// address of the form. The test stops it by SIGTERM, and it must exit with 0.
func startGateway(t *testing.T, args ...string) (address string) {
	t.Helper()
	return startServe(t, nil, append([]string{"--demo"}, args...)...)
}

// startSlowGateway runs "clixnow serve" over a fake brand that the test
// controls.
func startSlowGateway(t *testing.T, args ...string) (fake *clixnowtest.Server, address string) {
	t.Helper()
	fake = clixnowtest.NewServer()
	t.Cleanup(fake.Close)
	folder := t.TempDir()
	config := filepath.Join(folder, "config.toml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil,
		"[brands.acme]\ntoken_env = \"ACME\"\nbase_url = %q\n[gateway]\nrate = 0\n", fake.URL), 0o600))
	args = append([]string{"--config", config, "--db", filepath.Join(folder, "signups.db")}, args...)
	return fake, startServe(t, []string{"ACME=" + fake.Token}, args...)
}

func startServe(t *testing.T, environment []string, args ...string) (address string) {
	t.Helper()
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--admin", ""}, args...)
	command := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(programs, "clixnow"), args...)
	command.Env = append(os.Environ(), environment...)
	out := new(printed)
	command.Stdout, command.Stderr = out, out
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		assert.NoError(t, command.Process.Signal(syscall.SIGTERM))
		assert.NoError(t, command.Wait())
	})
	line := regexp.MustCompile(`serving the sign-ups" url=(http://127\.0\.0\.1:\d+/)`)
	require.Eventually(t, func() bool {
		match := line.FindStringSubmatch(out.String())
		if match != nil {
			address = match[1]
		}
		return match != nil
	}, time.Minute, 10*time.Millisecond)
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
func assertAtBroker(ctx context.Context, t *testing.T) {
	t.Helper()
	loggedIn := chromedp.Search(`//p[contains(text(), "You are logged in as lead")]`)
	require.NoError(t, chromedp.Do(ctx, chromedp.WaitReady(loggedIn)))
	location, err := chromedp.Run(ctx, chromedp.Location())
	require.NoError(t, err)
	assert.Contains(t, location, "/autologin?token=")
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
