package postback

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/internal/template"
)

const (
	firstWait = 5 * time.Second
	longest   = time.Hour
	// giveUpAfter is the time of failures after which an event needs a person.
	giveUpAfter = 24 * time.Hour
)

// outcome is the result of one attempt.
type outcome struct {
	// err is nil if the tracker has accepted the postback. Its text has no
	// secrets and no click id.
	err error
	// everyone means that the failure is one of the destination and not of the
	// event.
	everyone bool
	// retryAfter is the wait that the tracker asks for. 0 means none.
	retryAfter time.Duration
	// stopped means that ctx ended. The attempt does not count.
	stopped bool
}

// send makes one attempt.
func (d *destination) send(ctx context.Context, item *item) outcome {
	request, err := d.request(ctx, item)
	if err != nil {
		return outcome{err: err}
	}
	response, err := d.client.Do(request)
	if err != nil {
		return outcome{err: errors.New(networkProblem(err)), everyone: true, stopped: ctx.Err() != nil}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return outcome{err: errors.New("the response broke off"), everyone: true, stopped: ctx.Err() != nil}
	}
	switch status := response.StatusCode; {
	case status >= 200 && status < 300:
		return outcome{err: d.preset.check(string(body))}
	case status >= 300 && status < 400:
		return outcome{err: fmt.Errorf("the tracker answered %d; redirects are not followed", status), everyone: true}
	default:
		everyone := status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout ||
			status == http.StatusUnauthorized || status == http.StatusForbidden
		return outcome{
			err: fmt.Errorf("the tracker answered %d", status), everyone: everyone,
			retryAfter: retryAfter(response.Header.Get("Retry-After"), time.Now()),
		}
	}
}

// request returns the request of an event.
func (d *destination) request(ctx context.Context, item *item) (*http.Request, error) {
	var v template.Values
	if err := json.Unmarshal([]byte(item.values), &v); err != nil {
		return nil, errors.New("the stored event cannot be read")
	}
	v["status"] = d.status(clixnow.LeadEvent(v["event"]), v["status"])
	address, err := d.template.Expand(v)
	if err != nil {
		return nil, err
	}
	var form io.Reader
	if d.Method == http.MethodPost {
		var query string
		address, query, _ = strings.Cut(address, "?")
		form = strings.NewReader(query)
	}
	request, err := http.NewRequestWithContext(ctx, d.Method, address, form)
	if err != nil {
		return nil, errors.New("the request cannot be built")
	}
	request.Header.Set("User-Agent", "clixnow-postback/"+clixnow.Version)
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return request, nil
}

// networkProblem describes an error of net/http. The errors of net/http show
// the URL, and some show what the server sent. Both may have secrets.
func networkProblem(err error) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var network net.Error
	var dial *net.OpError
	switch {
	case errors.As(err, &dns):
		return "the host name cannot be resolved"
	case errors.As(err, &dial) && dial.Op == "dial":
		return "connect: " + strings.TrimPrefix(dial.Err.Error(), "connect: ")
	case errors.As(err, &certificate):
		return "the TLS certificate of the host is not valid"
	case errors.As(err, &network) && network.Timeout():
		return "the tracker did not answer in time"
	}
	return "the connection failed, or the response is not HTTP"
}

// retryAfter reads the header Retry-After: seconds, or a date. It returns at
// most an hour.
func retryAfter(header string, now time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseFloat(header, 64); err == nil && seconds > 0 {
		wait = time.Duration(min(seconds, longest.Seconds()) * float64(time.Second))
	} else if date, err := http.ParseTime(header); err == nil {
		wait = date.Sub(now)
	}
	return min(max(wait, 0), longest)
}

// backoff returns the wait after a number of failures: 5 seconds, twice as long
// each time, at most an hour, and shortened at random by up to a half.
func backoff(failures int) time.Duration {
	wait := min(firstWait<<min(failures-1, 10), longest)
	return wait/2 + rand.N(wait/2) //nolint:gosec // jitter is no secret
}
