package browser_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// allocator starts a browser for one test.
func allocator(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	switch {
	case path != "":
	case os.Getenv("CI") != "":
		t.Fatal("no Chromium is installed: apt-get install chromium")
	default:
		t.Skip("SKIPPED: no Chromium is installed: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, // root cannot use the sandbox
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(time.Minute))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	return ctx
}

// openBrowser returns the context of a tab in a new browser. The test fails if
// it takes longer than five minutes.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(allocator(t), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	return ctx
}

// screenshot saves a picture of the whole page in docs, if CLIXNOW_SCREENSHOTS
// is set.
func screenshot(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	if os.Getenv("CLIXNOW_SCREENSHOTS") == "" {
		return
	}
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100)) // 100 is PNG
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join("..", "..", "docs", name), picture, 0o644))
}

// press types keys, for example kb.Tab.
func press(ctx context.Context, t *testing.T, keys ...string) {
	t.Helper()
	require.NoError(t, chromedp.Do(ctx, chromedp.KeyEvent(strings.Join(keys, ""))))
}

// enter presses the Enter key as a keyboard does. kb.Enter would type a second
// key press after the first one has moved the focus.
func enter(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, event := range []input.DispatchKeyEventType{
		input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeChar, input.DispatchKeyEventTypeKeyUp,
	} {
		key := input.DispatchKeyEventParams{
			Type: event, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13,
			Text: "\r",
		}
		_, err := chromedp.Call(ctx, input.DispatchKeyEvent, key)
		require.NoError(t, err)
	}
}

// focused returns the id of the element with the focus, or else the id of its
// label, or else its HTML name.
func focused(ctx context.Context, t *testing.T) string {
	t.Helper()
	return evaluate[string](ctx, t,
		`(e => e.id || e.getAttribute("aria-labelledby") || e.tagName)(document.activeElement || document.body)`)
}

// waitForFocus waits until the element has the focus. A browser moves the focus
// when it draws the page.
func waitForFocus(ctx context.Context, t *testing.T, want string) {
	t.Helper()
	for now := ""; now != want; now = focused(ctx, t) {
		require.NoError(t, ctx.Err(), "the focus is on %q and should be on %q", now, want)
	}
}

// assertFits asserts that the page is not wider than the screen.
func assertFits(ctx context.Context, t *testing.T) {
	t.Helper()
	assert.True(t,
		evaluate[bool](ctx, t, `document.documentElement.scrollWidth <= document.documentElement.clientWidth`))
}

func evaluate[T any](ctx context.Context, t *testing.T, expression string) T {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(t, err)
	return value
}
