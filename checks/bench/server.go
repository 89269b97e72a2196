package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

const token = "bench-token"

// scenario is how the server behaves. It is part of the path of the base URL,
// so that every client can use it.
type scenario struct {
	// leads is the number of leads in the list.
	leads int
	// delay is the time before each response.
	delay time.Duration
	gzip  bool
}

func (s scenario) url(host string) string {
	return fmt.Sprintf("http://%s/%d/%v/%t", host, s.leads, s.delay, s.gzip)
}

func parseScenario(r *http.Request) (s scenario, err error) {
	if s.leads, err = strconv.Atoi(r.PathValue("leads")); err != nil {
		return s, err
	}
	if s.delay, err = time.ParseDuration(r.PathValue("delay")); err != nil {
		return s, err
	}
	s.gzip, err = strconv.ParseBool(r.PathValue("gzip"))
	return s, err
}

// serve prints its two addresses and serves on loopback until standard input
// ends. Standard input ends when the process that started the server ends.
func serve(ctx context.Context, leads int) error {
	list := makeLeads(leads)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	bare, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr(), bare.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = listener.Close()
		_ = bare.Close()
	}()
	go serveBare(bare)
	server := http.Server{Handler: newHandler(list), ReadHeaderTimeout: time.Minute}
	_ = server.Serve(listener) // it returns when the listener is closed
	return nil
}

type handler struct {
	list *leadList

	mu sync.Mutex
	// zipped holds compressed pages. To compress each time would measure the
	// server.
	zipped map[zipKey][]byte
}

type zipKey struct{ total, skip, count int }

func newHandler(list *leadList) http.Handler {
	h := &handler{list: list, zipped: make(map[zipKey][]byte)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{leads}/{delay}/{gzip}/api/system/v1/leads/search", h.search)
	mux.HandleFunc("POST /{leads}/{delay}/{gzip}/api/system/v1/leads", h.create)
	return mux
}

// admit does what comes before any response.
func admit(w http.ResponseWriter, r *http.Request) (scenario, bool) {
	s, err := parseScenario(r)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusNotFound)
	case r.Header.Get("Authorization") != "ApiToken "+token:
		http.Error(w, "wrong token", http.StatusUnauthorized)
	default:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if s.delay > 0 {
			time.Sleep(s.delay)
		}
		return s, true
	}
	return s, false
}

func (h *handler) search(w http.ResponseWriter, r *http.Request) {
	s, ok := admit(w, r)
	if !ok {
		return
	}
	query := r.URL.Query()
	skip, _ := strconv.Atoi(query.Get("skip")) // "" is 0
	count, err := strconv.Atoi(query.Get("count"))
	if err != nil {
		count = 10
	}
	if s.gzip && r.Header.Get("Accept-Encoding") == "gzip" {
		page := h.zip(zipKey{s.leads, skip, count})
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", strconv.Itoa(len(page)))
		_, _ = w.Write(page)
		return
	}
	page := h.list.cut(s.leads, skip, count)
	w.Header().Set("Content-Length", strconv.Itoa(len(page)+2))
	_, _ = io.WriteString(w, "[")
	_, _ = w.Write(page)
	_, _ = io.WriteString(w, "]")
}

func (h *handler) zip(key zipKey) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	page, ok := h.zipped[key]
	if !ok {
		var buffer bytes.Buffer
		writer := gzip.NewWriter(&buffer)
		_, _ = fmt.Fprintf(writer, "[%s]", h.list.cut(key.total, key.skip, key.count)) // a Buffer never fails
		_ = writer.Close()
		page = buffer.Bytes()
		h.zipped[key] = page
	}
	return page
}

// created is the vendor's example.
const created = `{"leadId":123456,` +
	`"redirectUrl":"https://brand.example/autologin?t=0123456789abcdef0123456789abcdef",` +
	`"subCampaign":"subcampaign","placement":"placement","keyword":"keyword",` +
	`"sub2":"sub2","clickId":"clickId","crmId":"crmId"}`

func (h *handler) create(w http.ResponseWriter, r *http.Request) {
	if _, ok := admit(w, r); !ok {
		return
	}
	if sent, err := io.Copy(io.Discard, r.Body); err != nil || sent < int64(len(created)) {
		http.Error(w, "no lead", http.StatusBadRequest)
		return
	}
	_, _ = io.WriteString(w, created)
}

// serveBare answers each create at once, with less work than a server of
// net/http. It checks nothing.
func serveBare(listener net.Listener) {
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		len(created), created)
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			reader := bufio.NewReader(conn)
			for skipRequest(reader) == nil {
				if _, err := io.WriteString(conn, answer); err != nil {
					return
				}
			}
		}()
	}
}

// skipRequest reads one request with a Content-Length.
func skipRequest(r *bufio.Reader) error {
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= len("\r\n") {
			_, err := r.Discard(length)
			return err
		}
		if name, value, _ := bytes.Cut(line, []byte(": ")); string(name) == "Content-Length" {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
}
