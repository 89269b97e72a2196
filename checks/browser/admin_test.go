package browser_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startAdmin serves the admin page of a gateway with no sign-ups, and that of
// one with sign-ups of each kind, whose brands fail. The test of the package
// does this, because a gateway needs hours for some of them.
func startAdmin(t *testing.T) (empty, full string) {
	t.Helper()
	command := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(programs, "admin.test"))
	command.Env = append(command.Environ(), "CLIXNOW_ADMIN_DEMO=1")
	out := new(printed)
	command.Stdout, command.Stderr = out, out
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		assert.NoError(t, command.Process.Signal(syscall.SIGINT))
		assert.NoError(t, command.Wait())
	})
	addresses := regexp.MustCompile(`empty (\S+)\nfull (\S+)\n`)
	require.Eventually(t, func() bool { return addresses.MatchString(out.String()) }, time.Minute, 10*time.Millisecond)
	found := addresses.FindStringSubmatch(out.String())
	return found[1], found[2]
}

// arrive waits until an element is visible and its page has loaded, with the
// style.
func arrive(ctx context.Context, t *testing.T, selector string) {
	t.Helper()
	require.NoError(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(selector))))
	for !evaluate[bool](ctx, t, `document.readyState === "complete"`) { // Poll needs scripts
		require.NoError(t, ctx.Err())
	}
}

// click clicks on an element and waits for another one on the next page.
func click(ctx context.Context, t *testing.T, selector, next string) {
	t.Helper()
	require.NoError(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector))))
	arrive(ctx, t, next)
}

func TestAdminAccessible(t *testing.T) {
	t.Parallel()
	empty, full := startAdmin(t)
	ctx := openBrowser(t)
	for _, scheme := range []string{"light", "dark"} {
		for name, width := range map[string]int64{"wide": 1280, "phone": 390} {
			require.NoError(t, chromedp.Do(ctx, withScheme(scheme), chromedp.EmulateViewport(width, 844)))
			open := func(address string) {
				require.NoError(t,
					chromedp.Do(ctx, chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS("main"))))
			}
			check := func(state string) {
				assertFits(ctx, t)
				assertAccessible(ctx, t)
				keepPicture(ctx, t, state+"-"+name+"-"+scheme+".png")
			}
			open(empty + "/")
			check("empty")
			open(full + "/")
			evaluate[bool](ctx, t, `[...document.querySelectorAll("details")].every(d => d.open = true)`)
			check("list")
			open(full + "/?status=pending&q=example")
			check("search")
			open(full + "/retry?status=pending")
			check("retry")
			open(full + "/retry?status=refused&retried=7&changed=2&failed=1")
			check("retried")
			open(full + "/?status=doubtful")
			click(ctx, t, ".rows a", "#history")
			evaluate[bool](ctx, t, `[...document.querySelectorAll("details")].every(d => d.open = true)`)
			check("details")
			open(full + "/?q=corrected.by.visitor")
			click(ctx, t, ".rows a", "#history")
			require.NoError(t, chromedp.Do(ctx, chromedp.SetValue(chromedp.CSS("#email"), "anna at example.com")))
			click(ctx, t, "#correct button", "#faults")
			waitForFocus(ctx, t, "faults")
			check("mistake")
			open(full + "/?status=registered")
			click(ctx, t, ".rows a", "#history")
			check("registered")
			open(full + "/signups/none")
			check("problem")
		}
	}
}

// TestAdminByKeyboardOnPhone corrects a sign-up without a mouse and without
// scripts, on a small screen at 200 %.
func TestAdminByKeyboardOnPhone(t *testing.T) {
	t.Parallel()
	_, full := startAdmin(t)
	ctx := openBrowser(t)
	require.NoError(t, chromedp.Do(ctx, withoutScripts(),
		chromedp.EmulateViewport(320, 568, chromedp.EmulateMobile, chromedp.EmulateTouch), chromedp.Navigate(full+"/")))
	assertFits(ctx, t)
	tabTo := func(want string) {
		t.Helper()
		for range 60 {
			press(ctx, t, kb.Tab)
			if evaluate[bool](ctx, t, `document.activeElement.matches(`+"`"+want+"`"+`)`) {
				return
			}
		}
		t.Fatal("the keyboard does not reach " + want)
	}
	tabTo("[role=search] [name=q]")
	press(ctx, t, "corrected.by.visitor")
	enter(ctx, t)
	arrive(ctx, t, ".found")
	tabTo(".rows a")
	enter(ctx, t)
	arrive(ctx, t, "#email")
	assertFits(ctx, t)
	tabTo("#email")
	press(ctx, t, kb.End+strings.Repeat(kb.Backspace, len("@example.com")))
	enter(ctx, t)
	arrive(ctx, t, "#faults")
	assertFits(ctx, t)
	tabTo("#faults a")
	enter(ctx, t)
	waitForFocus(ctx, t, "email")
	assert.Equal(t, "corrected.by.visitor", evaluate[string](ctx, t, `document.activeElement.value`), "what was typed")
	press(ctx, t, kb.End+"@example.org")
	enter(ctx, t)
	arrive(ctx, t, ".notice")
	assert.Contains(t, evaluate[string](ctx, t, `document.querySelector("#history").textContent`),
		"email corrected.by.visitor@example.com → corrected.by.visitor@example.org")
	assertFits(ctx, t)
}

// TestAdminUpdatesItself checks that the page shows what happens, and does not
// disturb who uses it.
func TestAdminUpdatesItself(t *testing.T) {
	t.Parallel()
	_, full := startAdmin(t)
	ctx := openBrowser(t)
	wait := func(expression string) {
		t.Helper()
		_, err := chromedp.Run(ctx, chromedp.Poll[bool]("!!("+expression+")"))
		require.NoError(t, err)
	}
	require.NoError(t,
		chromedp.Do(ctx, chromedp.EmulateViewport(1280, 800), chromedp.Navigate(full+"/?status=doubtful")))
	wait(`document.querySelector("#live").hidden === false`)
	evaluate[bool](ctx, t, `window.samePage = true`)
	evaluate[bool](ctx, t, `document.querySelector("#brands details").open = true`)
	require.NoError(t, chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS("[name=q]"), "half a wo")))
	waiting := `document.querySelector("#tiles [aria-current] b").textContent`
	require.Equal(t, "2", evaluate[string](ctx, t, waiting))

	// Somebody else gives a sign-up up.
	evaluate[bool](ctx, t, `!!fetch(document.querySelector(".rows a").href + "/give-up", {method: "POST"})`)
	wait(waiting + ` === "1"`)
	wait(`document.querySelectorAll(".rows li").length === 1`)
	assert.True(t, evaluate[bool](ctx, t, "window.samePage"))
	assert.True(t, evaluate[bool](ctx, t, `document.querySelector("#brands details").open`), "what is open stays open")
	assert.Equal(t, "half a wo", evaluate[string](ctx, t, `document.activeElement.value`), "what is typed stays")

	// The focus stays on a link of a part that changes.
	evaluate[bool](ctx, t, `!document.querySelector("#tiles a:nth-child(4)").focus()`)
	evaluate[bool](ctx, t, `!!fetch(document.querySelector(".rows a").href + "/give-up", {method: "POST"})`)
	wait(`document.querySelector("#rows .empty")`)
	assert.Contains(t, evaluate[string](ctx, t, `document.activeElement.textContent`), "Refused")
	require.NoError(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#live"))))
	wait(`document.querySelector("#live").textContent === "Paused"`)
}
