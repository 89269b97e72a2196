package mock

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "leads.json")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestWarnsIfNotLoopback(t *testing.T) {
	t.Parallel()
	for ip, warns := range map[string]bool{
		"127.0.0.1": false, "::1": false, "0.0.0.0": true, "::": true, "192.0.2.1": true,
	} {
		var out, errs bytes.Buffer
		m, err := newMock(settings{}, &out)
		require.NoError(t, err)
		m.greet(&net.TCPAddr{IP: net.ParseIP(ip), Port: 8080}, &errs)
		assert.Equal(t, warns, strings.Contains(errs.String(), "WARNING: other machines"), ip)
		assert.NotContains(t, out.String(), "://0.0.0.0")
		assert.NotContains(t, out.String(), "://[::]:")
	}
}

func TestSeedFile(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		emails     string
		err        string
	}{
		{
			name: "array", text: "[{\"email\":\"a@x.test\"},\n{\"email\":\"b@x.test\",\"id\":5}]",
			emails: "a@x.test b@x.test",
		},
		{name: "lines", text: "{\"email\":\"a@x.test\"}\n\n{\"email\":\"b@x.test\"}\r\n", emails: "a@x.test b@x.test"},
		{name: "byte order mark", text: "\ufeff[{\"email\":\"a@x.test\"}]", emails: "a@x.test"},
		{
			name: "byte order mark before lines", text: "\ufeff{\"email\":\"a@x.test\"}\n{\"email\":\"b@x.test\"}",
			emails: "a@x.test b@x.test",
		},
		{name: "UTF-16LE", text: "\xff\xfe[\x00{\x00\"\x00i\x00d\x00\"\x00:\x007\x00}\x00]\x00"},
		{name: "UTF-16BE", text: "\xfe\xff\x00[\x00{\x00\"\x00i\x00d\x00\"\x00:\x007\x00}\x00]"},
		{name: "empty array", text: "[ ]"},
		{name: "empty", text: "\n"},
		{name: "masked email", text: `[{"id":3}]`, emails: ""},
		{name: "names in any case", text: `{"EMAIL":"a@x.test"}`, emails: "a@x.test"},
		{
			name: "array that does not end", text: "[{\"email\":\"a@x.test\"},\n{",
			err: "line 2 of the array of leads: unexpected end",
		},
		{
			name: "array with a comma", text: "[{\"id\":1},\n{\"id\":2},\n]",
			err: "line 3 of the array of leads: invalid character",
		},
		{
			name: "wrong date", text: `[{"id":1},{"id":2,"ftdDate":"yesterday"}]`,
			err: `lead 2: clixnow: decode lead: ftdDate: not a date; write a JSON array`,
		},
		{name: "comma-separated values", text: "id,email\n1,a@x.test", err: "lead 1: invalid character 'i'"},
		{
			name: "one object on many lines", text: "{\n\"id\":1}",
			err: "lead 1: unexpected end of JSON input; write a JSON array of leads, or one lead per line",
		},
		{name: "number", text: "[5]", err: "lead 1: clixnow: decode lead: an object is expected"},
		{name: "null", text: "[null]", err: "lead 1: has neither id nor email"},
		{name: "envelope", text: `{"leads":[{"id":1}]}`, err: `lead 1: has neither id nor email, but ["leads"]`},
		{
			name: "registration", text: `{"email":"a@x.test","Password":"Password123!"}`,
			err: "lead 1: has a password, so it is a registration",
		},
		{name: "same id", text: "{\"id\":1}\n{\"id\":2}\n{\"id\":1}", err: "lead 3: has the id of lead 1"},
		{name: "negative id", text: `[{"id":-1}]`, err: "lead 1: id must be from 1 to"},
		{name: "huge id", text: `[{"id":9223372036854775807}]`, err: "lead 1: id must be from 1 to"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			name := file(t, test.text)
			m, err := newMock(settings{seed: name}, io.Discard)
			if test.err != "" {
				require.ErrorContains(t, err, "read --seed "+name+": "+test.err)
				assert.NotContains(t, err.Error(), "Password123!")
				return
			}
			require.NoError(t, err)
			var emails []string
			for _, lead := range m.seed {
				emails = append(emails, lead.Email)
			}
			assert.Equal(t, test.emails, strings.Join(emails, " "))
		})
	}
	_, err := newMock(settings{seed: "no-such-file"}, io.Discard)
	require.ErrorContains(t, err, "no-such-file")
}

func TestMaskedBodies(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, want string }{
		{"none", "", ""},
		{"password", `{"password":"hunter2"}`, `{"password":"***"}`},
		{"other case", `{"PassWord":"hunter2"}`, `{"PassWord":"***"}`},
		{"escaped name", `{"pass\u0077ord":"hunter2"}`, `{"password":"***"}`},
		{"not a text", `{"password":["hunter2",{"a":"hunter2"}]}`, `{"password":"***"}`},
		{"twice", `{"password":"hunter2","password":"hunter2"}`, `{"password":"***"}`},
		{
			"deeper", `{"user":{"password":"hunter2"},"list":[{"secret":"hunter2"}]}`,
			`{"list":[{"secret":"***"}],"user":{"password":"***"}}`,
		},
		{"token in a field", `{"apiToken":"CfDJ8-x"}`, `{"apiToken":"***"}`},
		{"token in a text", `{"comment":"ApiToken CfDJ8-x."}`, `{"comment":"ApiToken ***."}`},
		{
			"numbers and escapes", `{"a":1.50,"b":12345678901234567890,"c":"<&>"}`,
			`{"a":1.50,"b":12345678901234567890,"c":"<&>"}`,
		},
		{"form", "email=a&password=hunter2", `"24 bytes, not shown: not a JSON object, or too long"`},
		{"array", `["hunter2"]`, `"11 bytes, not shown: not a JSON object, or too long"`},
		{"half", `{"password":"hunter2`, `"20 bytes, not shown: not a JSON object, or too long"`},
		{"more", `{} hunter2`, `"10 bytes, not shown: not a JSON object, or too long"`},
		{
			"long", `{"a":"` + strings.Repeat("x", 65530) + `"}`,
			`"65538 bytes, not shown: not a JSON object, or too long"`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var entry request
			entry.setBody([]byte(test.body), "CfDJ8-x")
			if test.want == "" {
				assert.Nil(t, entry.Body)
				return
			}
			assert.JSONEq(t, test.want, string(entry.Body))
			assert.NotContains(t, string(entry.Body), "hunter2")
		})
	}
}

// TestChangesDuringCreates checks that a create is connected with the lead that
// it creates, and not with another change of a lead with its email.
func TestChangesDuringCreates(t *testing.T) {
	t.Parallel()
	m, err := newMock(settings{firstID: 8}, io.Discard)
	require.NoError(t, err)
	create := &request{Body: []byte(`{"email":"A@x.test"}`), email: "a@x.test"}
	m.creating[create.email] = create
	m.observe(clixnow.Lead{ID: 7, Email: "a@x.test"})
	m.observe(clixnow.Lead{ID: 8})
	assert.Zero(t, create.LeadID)
	m.observe(clixnow.Lead{ID: 9, Email: "A@x.test"})
	m.observe(clixnow.Lead{ID: 9, Email: "A@x.test", Status: "Call back"})
	assert.EqualValues(t, 9, create.LeadID)
	assert.Equal(t, map[int64]json.RawMessage{9: create.Body}, m.registrations)
}
