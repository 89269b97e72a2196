package network_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

const host = "integration.acme.clixnow.com"

// authority issues certificates for host.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// file has the certificate in PEM.
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), name+".pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(file, data, 0o600))
	return &authority{certificate, key, file}
}

func (a *authority) issue(t *testing.T) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, a.key.Public(), a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// authorities are those that all networks share.
type authorities struct{ public, company, stranger *authority }

// stage is how far the API is with a request.
type stage int

const (
	// handled means that the request was carried out, and nothing was sent.
	handled stage = iota
	// halfSent means that the first half of the response was sent.
	halfSent
)

// world is a client and a Clixnow with a network between them.
type world struct {
	*link

	t     *testing.T
	roots authorities
	api   *clixnowtest.Server
	// serverSide and clientSide are the namespaces.
	serverSide, clientSide *namespace
	servers, portals       []*http.Server
	// seeded holds the ids of the leads that were there first.
	seeded []int64

	// state guards the fields below.
	state sync.Mutex
	// address is what the name of the API resolves to.
	address string
	// resolve answers a question of DNS. nil means the address.
	resolve func(*dns.Msg) *dns.Msg
	// reach is called with each stage of the requests that a fault may strike.
	reach func(stage)
	// gets counts the searches since the fault was armed.
	gets int
	// connect answers a CONNECT of the proxy. nil means that it works.
	connect func(client net.Conn)
	// tunnels holds the open connections of the proxy.
	tunnels []net.Conn
}

func newWorld(t *testing.T, roots authorities, protocols *http.Protocols) *world {
	t.Helper()
	w := &world{
		t: t, roots: roots, address: apiAddress,
		// Two sends make two leads.
		api: clixnowtest.NewHandler(clixnowtest.WithToken(testToken), clixnowtest.WithoutDuplicateCheck()),
	}
	var err error
	var far, near *os.File
	w.serverSide, far, err = newNamespace(apiAddress, proxyAddress, movedAddress, portalAddress, dnsAddress)
	require.NoError(t, err)
	w.clientSide, near, err = newNamespace(clientAddress)
	require.NoError(t, err)
	w.link = newLink(near, far)
	t.Cleanup(w.close)
	w.seed()

	handler := w.stages(w.api)
	for _, address := range []string{apiAddress, movedAddress} {
		w.serve(address+":443", roots.public, protocols, handler)
	}
	w.serve(apiAddress+":80", nil, nil, handler)
	w.serve(proxyAddress+":3128", nil, nil, http.HandlerFunc(w.proxy))
	w.serveDNS()
	return w
}

// seed adds leads for walks. They are older than the window of a look.
func (w *world) seed() {
	var leads []clixnow.Lead
	for i := range 3*pageSize + pageSize/2 {
		at := time.Now().Add(-time.Hour + time.Duration(i)*time.Second)
		leads = append(leads, clixnow.Lead{
			Email: fmt.Sprintf("lead%d@leads.example", i), CreatedOn: at, UpdatedOn: at, Status: "New",
		})
	}
	for _, lead := range w.api.AddLeads(leads...) {
		w.seeded = append(w.seeded, lead.ID)
	}
}

// created returns the number of leads that clients have created.
func (w *world) created() int { return len(w.api.Leads()) - len(w.seeded) }

// serve starts a server in the namespace. Without an authority it is one of
// plain HTTP.
func (w *world) serve(address string, by *authority, protocols *http.Protocols, handler http.Handler) *http.Server {
	w.t.Helper()
	server := &http.Server{
		Handler: handler, Protocols: protocols, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
	}
	var listener net.Listener
	require.NoError(w.t, w.serverSide.do(func() (err error) {
		listener, err = new(net.ListenConfig).Listen(w.t.Context(), "tcp", address)
		return err
	}))
	done := make(chan struct{})
	if by != nil {
		server.TLSConfig = &tls.Config{
			Certificates: []tls.Certificate{by.issue(w.t)}, MinVersion: tls.VersionTLS12,
		}
	}
	go func() {
		defer close(done)
		if by != nil {
			_ = server.ServeTLS(listener, "", "") // It always returns an error.
			return
		}
		_ = server.Serve(listener)
	}()
	w.t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	w.servers = append(w.servers, server)
	return server
}

// stages calls reach at each stage of each create, and of the second search.
func (w *world) stages(api http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		at := w.strike(r)
		recorded := httptest.NewRecorder()
		api.ServeHTTP(recorded, r)
		at(handled)
		maps.Copy(rw.Header(), recorded.Header())
		rw.WriteHeader(recorded.Code)
		response := recorded.Body.Bytes()
		_, _ = rw.Write(response[:len(response)/2])
		_ = http.NewResponseController(rw).Flush()
		at(halfSent)
		_, _ = rw.Write(response[len(response)/2:])
	})
}

func (w *world) strike(r *http.Request) func(stage) {
	w.state.Lock()
	defer w.state.Unlock()
	if r.Method == http.MethodGet {
		w.gets++
	}
	if w.reach == nil || r.Method == http.MethodGet && w.gets != 2 {
		return func(stage) {}
	}
	return w.reach
}

// at makes f happen at a stage.
func (w *world) at(s stage, f func()) {
	f = sync.OnceFunc(f)
	w.state.Lock()
	defer w.state.Unlock()
	w.gets = 0
	w.reach = func(now stage) {
		if now == s {
			f()
		}
	}
}

func (w *world) serveDNS() {
	var conn net.PacketConn
	require.NoError(w.t, w.serverSide.do(func() (err error) {
		conn, err = new(net.ListenConfig).ListenPacket(w.t.Context(), "udp", dnsAddress+":53")
		return err
	}))
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) {
		w.state.Lock()
		resolve, address := w.resolve, w.address
		w.state.Unlock()
		answer := new(dns.Msg).SetReply(q)
		switch {
		case resolve != nil:
			answer = resolve(q)
		case q.Question[0].Name != host+".":
			answer.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			answer.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: host + ".", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1},
				A:   net.ParseIP(address),
			}}
		}
		if answer != nil {
			_ = rw.WriteMsg(answer)
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ActivateAndServe() // It returns an error when it is closed.
	}()
	w.t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
}

// move makes the name of the API resolve to another address.
func (w *world) move(address string) {
	w.state.Lock()
	defer w.state.Unlock()
	w.address = address
}

func (w *world) dial(ctx context.Context, address string) (conn net.Conn, err error) {
	err = w.serverSide.do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", address)
		return err
	})
	return conn, err
}

// proxy answers a CONNECT.
func (w *world) proxy(rw http.ResponseWriter, r *http.Request) {
	conn, _, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		return
	}
	w.state.Lock()
	connect := w.connect
	w.tunnels = append(w.tunnels, conn)
	w.state.Unlock()
	if connect != nil {
		connect(conn)
		return
	}
	defer func() { _ = conn.Close() }()
	api, err := w.dial(r.Context(), apiAddress+":443")
	if err != nil {
		return
	}
	defer func() { _ = api.Close() }()
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		_, _ = io.Copy(conn, api)
		_ = conn.Close()
	}()
	_, _ = io.Copy(api, conn)
}

// closeTunnels closes all connections of the proxy with clients.
func (w *world) closeTunnels() {
	w.state.Lock()
	defer w.state.Unlock()
	for _, conn := range w.tunnels {
		_ = conn.Close()
	}
	w.tunnels = nil
}

// intercept starts a server that reads and forwards all requests. The name of
// the API leads to it.
func (w *world) intercept() {
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: apiAddress + ":80"})
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				return w.dial(ctx, address)
			},
		},
	}
	w.serve(portalAddress+":443", w.roots.company, nil, forward)
	w.move(portalAddress)
}

// portal starts a captive portal. The name of the API leads to it until heal.
func (w *world) portal(address string, answer http.HandlerFunc) {
	by := w.roots.stranger
	if strings.HasSuffix(address, ":80") {
		by = nil
	}
	w.portals = append(w.portals, w.serve(address, by, nil, answer))
	w.move(portalAddress)
}

// heal ends all faults.
func (w *world) heal() {
	w.set(pass)
	w.move(apiAddress)
	w.state.Lock()
	defer w.state.Unlock()
	w.resolve, w.reach, w.connect = nil, nil, nil
	for _, portal := range w.portals {
		_ = portal.Close()
	}
}

// process is a running client.
type process struct {
	w       *world
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
	stderr  strings.Builder
}

// start starts a client process and waits until it is ready for its call.
func (w *world) start(p plan, environment ...string) *process {
	w.t.Helper()
	text, err := json.Marshal(p)
	require.NoError(w.t, err)
	run := &process{w: w, command: exec.CommandContext(w.t.Context(), "/proc/self/exe")}
	run.command.Env = slices.Concat(environment, []string{
		planVariable + "=" + string(text),
		"SSL_CERT_FILE=" + w.roots.public.file, "SSL_CERT_DIR=" + filepath.Dir(w.roots.public.file),
	})
	run.command.Stderr = &run.stderr
	run.input, err = run.command.StdinPipe()
	require.NoError(w.t, err)
	output, err := run.command.StdoutPipe()
	require.NoError(w.t, err)
	run.output = bufio.NewReader(output)
	require.NoError(w.t, w.clientSide.do(run.command.Start))
	line, err := run.output.ReadString('\n')
	if err != nil || line != "ready\n" {
		run.fail(err)
	}
	return run
}

func (p *process) fail(err error) {
	p.w.t.Helper()
	_ = p.input.Close()
	waited := p.command.Wait()
	require.FailNow(p.w.t, "the client failed", "%v\n%s", errors.Join(err, waited), p.stderr.String())
}

// next lets the client make its next call.
func (p *process) next() (r report) {
	p.w.t.Helper()
	_, err := io.WriteString(p.input, "\n")
	if err == nil {
		var line []byte
		line, err = p.output.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &r)
		}
	}
	if err != nil {
		p.fail(err)
	}
	return r
}

// settle waits until the client's kernel has delivered or dropped all data, and
// the API has carried out all that it received.
func (p *process) settle() {
	p.w.t.Helper()
	require.Eventually(p.w.t, func() bool { return p.unsent() == 0 }, 2*time.Minute, 200*time.Millisecond,
		"the client's kernel has data to send")
	p.end()
}

// end ends the client, and then the servers.
func (p *process) end() {
	p.w.t.Helper()
	require.NoError(p.w.t, p.input.Close())
	require.NoError(p.w.t, p.command.Wait(), p.stderr.String())
	for _, server := range p.w.servers {
		_ = server.Shutdown(p.w.t.Context())
	}
}

// unsent returns how many bytes of TCP the other side has not acknowledged.
func (p *process) unsent() (bytes int64) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", p.command.Process.Pid))
	require.NoError(p.w.t, err)
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if fields[0] == "sl" {
			continue
		}
		n, err := strconv.ParseInt(strings.SplitN(fields[4], ":", 2)[0], 16, 64)
		require.NoError(p.w.t, err, line)
		bytes += n
	}
	return bytes
}
