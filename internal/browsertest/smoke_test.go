package browsertest_test

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

func TestSmoke(t *testing.T) {
	ctx := openBrowser(t)
	_, err := chromedp.Run(ctx, chromedp.Navigate("data:text/html,<title>hey</title>"))
	require.NoError(t, err)
	title, err := chromedp.Run(ctx, chromedp.Title())
	require.NoError(t, err)
	require.Equal(t, "hey", title)
	_ = build
}
