package clixnowtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// handle records each answer that the server itself makes: none that a test
// injects.
func (s *Server) handle(r *http.Request, body []byte) response {
	answer := s.unrecordedHandle(r, body)
	line, err := json.Marshal(struct {
		Method, URL  string
		Header       http.Header
		Body         []byte
		Status       int
		AnswerHeader http.Header
		Answer       []byte
	}{r.Method, r.URL.String(), r.Header, body, answer.status, answer.header, answer.body})
	if err != nil {
		panic(err)
	}
	file := filepath.Join(os.Getenv("CLIXNOW_CONTRACT_RECORD"), fmt.Sprintf("answers-%d", os.Getpid()))
	out, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer out.Close()
	if _, err := out.Write(append(line, '\n')); err != nil {
		panic(err)
	}
	return answer
}
