package clixnow

import (
	"maps"
	"slices"
	"strings"
)

// This file decides which secrets are hidden in a text of a server: tokens, the
// password, and URLs. In texts for logs, it also hides the names, the email,
// the phone and the address of the lead. hide.go finds them in the text.

const hidden = "[hidden]"

// textMask hides secrets and lead data in texts that a server sent or that
// net/http made. It belongs to one call.
type textMask struct {
	// tokens are all tokens that the call used.
	tokens []string
	// The other fields are those of the lead. They are "" for a search.
	password, email, phone, address string
	// names are the first and the last name.
	names []string
}

// newMask returns the mask of a call. req is the lead of a create, or nil.
func (c *Client) newMask(req *CreateLeadRequest) *textMask {
	m := &textMask{tokens: []string{c.token()}}
	if req != nil {
		m.password, m.email, m.phone = req.Password, req.Email, req.Phone
		m.names = []string{req.FirstName, req.LastName}
		if req.IPAddress.IsValid() {
			m.address = req.IPAddress.String()
		}
	}
	return m
}

// secrets hides tokens and the password, and cuts URLs.
func (m *textMask) secrets(text string) string {
	for _, s := range m.list() {
		text = hideAll(text, s)
	}
	return cutURLs(text)
}

// list returns the secrets, longer tokens first. A short secret is not hidden,
// because it may be part of a common word.
func (m *textMask) list() (secrets []secret) {
	const shortestToken, shortestPassword = 4, 8
	longestFirst := func(a, b string) int { return len(b) - len(a) }
	for _, token := range slices.SortedFunc(slices.Values(m.tokens), longestFirst) {
		secrets = append(secrets, secret{text: token, shortest: shortestToken})
	}
	return append(secrets, secret{text: m.password, shortest: shortestPassword})
}

// forLogs hides what secrets hides, and the data of the lead. A name is hidden
// where it is a word, because it may also be part of one.
func (m *textMask) forLogs(text string) string {
	const shortestEmail, shortestPhone, shortestName, shortestAddress = 4, 5, 2, 3
	text = m.secrets(text)
	text = hideAll(text, secret{text: strings.TrimSpace(m.email), shortest: shortestEmail, anyCase: true})
	phone := strings.TrimSpace(m.phone)
	for _, form := range []string{phone, strings.TrimPrefix(phone, "+"), digits(phone)} {
		text = hideAll(text, secret{text: form, shortest: shortestPhone})
	}
	text = hideAll(text, secret{text: m.address, shortest: shortestAddress, anyCase: true})
	for _, name := range m.names {
		text = hideAll(text, secret{text: name, shortest: shortestName, anyCase: true, isWord: true})
	}
	return text
}

// fields hides secrets in names and texts.
func (m *textMask) fields(fields map[string][]string) map[string][]string {
	masked := maps.Clone(fields)
	clear(masked)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		hiddenName := m.name(name)
		for _, text := range fields[name] {
			masked[hiddenName] = append(masked[hiddenName], m.secrets(text))
		}
	}
	return masked
}

// name hides secrets in the name of a field. Package wire may have removed "$."
// from the name, and changed its case.
func (m *textMask) name(name string) string {
	for _, s := range m.list() {
		s.text, s.anyCase = strings.TrimPrefix(s.text, "$."), true
		name = hideAll(name, s)
	}
	return cutURLs(name)
}

// digits returns the digits of a phone, as a server may show it.
func digits(phone string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, phone)
}

// mask hides in e what the server repeats of the request. It first looks for
// the words of the sentinel errors, because the mask may hide them.
func (m *textMask) mask(e *APIError) {
	e.duplicate, e.country = e.Is(ErrDuplicateLead), e.Is(ErrCountryNotAllowed)
	e.Message, e.Fields, e.RequestID = m.secrets(e.Message), m.fields(e.Fields), m.secrets(e.RequestID)
	e.mask = m.forLogs
}
