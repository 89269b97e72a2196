package clixnow

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestIsMacro(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"{clickid}", "%7Bclickid%7D", "%7bclickid%7d", "{{x}}", "{{click.id}}", "%7B%7Bx%7D%7D", "${x}", "%24%7Bx%7D",
		"[x]", "%5Bx%5D", "<x>", "%3Cx%3E", "##x##", "##CLICK_ID##", "%23%23x%23%23", "__X__", "__CLICK_ID__", " {x} ",
		"{}", "{ click id }", "{100%}", "{x:y}", "{é}", "<%2Fx>",
	} {
		assert.True(t, isMacro(value), value)
	}
	for _, value := range []string{
		"", " ", "x", "{", "}", "{x", "x}", "a{x}", "{x}b", "{a}-{b}", "{{x}", "${x", "$x}", "[x", "x]", "[a] [b]",
		"<x", "x>", "<a><b>", "##", "#x#", "##x", "##a##b##", "__", "_X_", "__X", "X__", "__A__B__", "%7Bx", "%zz",
		"20fn4ngo56n3snf74", "0", "100%", "a__b",
	} {
		assert.False(t, isMacro(value), value)
	}
}
