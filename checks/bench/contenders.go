package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/clixnow/clixnow-go"
)

// client is how one contender does the work. A nil function means that it
// cannot do this work.
type client struct {
	// read reads all leads, in pages of pageSize, and passes each lead to t.
	read   func(ctx context.Context, t *tally) error
	create func(ctx context.Context) error
}

// contenders maps the names in the tables to functions that make a client for a
// base URL.
var contenders = map[string]func(baseURL string) (client, error){
	floor:        newFloor,
	sdk:          sdkClient(clixnow.SearchLeadsRequest{}),
	sdkPrefetch2: sdkClient(clixnow.SearchLeadsRequest{Prefetch: 2}),
	sdkPrefetch4: sdkClient(clixnow.SearchLeadsRequest{Prefetch: 4}),
	sdkPrefetch8: sdkClient(clixnow.SearchLeadsRequest{Prefetch: 8}),
	sdkModified:  sdkClient(clixnow.SearchLeadsRequest{OrderBy: clixnow.OrderByModifiedOn}),
	sdkCreated:   sdkClient(clixnow.SearchLeadsRequest{OrderBy: clixnow.OrderByCreatedOn}),
	sdkKlauspost: sdkClient(clixnow.SearchLeadsRequest{},
		clixnow.WithHTTPClient(&http.Client{Transport: klauspost{http.DefaultTransport}})),
	handWritten:    newHandWritten,
	handWrittenV2:  newHandWritten, // only without encoding/json/v2
	nativeV2:       newNative,
	handGoccy:      newHand(goccyCodec()),
	handSonic:      newSonic,
	handJX:         newJX,
	handDefault:    newHandWrittenOnDefault,
	handKept:       newHandWrittenKept,
	restyName:      newResty,
	oapiCodegen:    newOAPI,
	ogenName:       newOgen,
	retryableNamed: newRetryable,
}

const (
	floor          = "floor: GET and discard"
	sdk            = "this SDK"
	sdkPrefetch2   = "this SDK, Prefetch: 2"
	sdkPrefetch4   = "this SDK, Prefetch: 4"
	sdkPrefetch8   = "this SDK, Prefetch: 8"
	sdkModified    = "this SDK, ModifiedOn"
	sdkCreated     = "this SDK, CreatedOn"
	sdkKlauspost   = "this SDK, inflated by klauspost/compress"
	handWritten    = "hand-written, encoding/json"
	handWrittenV2  = "hand-written, GOEXPERIMENT=jsonv2"
	nativeV2       = "hand-written, encoding/json/v2"
	handGoccy      = "hand-written, goccy/go-json"
	handSonic      = "hand-written, bytedance/sonic"
	handJX         = "hand-written, go-faster/jx"
	handDefault    = "hand-written, http.DefaultClient"
	handKept       = "hand-written, 64 idle connections"
	restyName      = "resty"
	oapiCodegen    = "oapi-codegen"
	ogenName       = "ogen"
	retryableNamed = "go-retryablehttp"
)

// tally proves that a contender has read every field of every lead: all
// contenders must get the same tally.
type tally struct {
	Leads, IDs, Brands, Texts, Times int64
}

func (t *tally) lead(id, brandID int64, times [3]time.Time, texts ...string) {
	t.Leads++
	t.IDs += id
	t.Brands += brandID
	for _, text := range texts {
		t.Texts += int64(len(text))
	}
	for _, date := range times {
		if !date.IsZero() {
			t.Times += date.UnixMilli()
		}
	}
}

// newTransport returns the transport of the contenders that have none of their
// own.
func newTransport() *http.Transport { return http.DefaultTransport.(*http.Transport).Clone() }

// pages reads pages as most programs do: each starts where the page before
// ended, until a page is not full.
func pages[T any](ctx context.Context, fetch func(ctx context.Context, skip int) ([]T, error), each func(*T)) error {
	for skip := 0; ; skip += pageSize {
		page, err := fetch(ctx, skip)
		if err != nil {
			return err
		}
		for i := range page {
			each(&page[i])
		}
		if len(page) < pageSize {
			return nil
		}
	}
}

// newFloor reads the same bytes and discards them.
func newFloor(baseURL string) (client, error) {
	hc := &http.Client{Transport: newTransport()}
	const leastLead = 100 // bytes; a body shorter than pageSize of them is the last page
	return client{read: func(ctx context.Context, _ *tally) error {
		for skip := 0; ; skip += pageSize {
			req, err := newSearch(ctx, baseURL, skip)
			if err != nil {
				return err
			}
			resp, err := hc.Do(req)
			if err != nil {
				return err
			}
			n, err := io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if err != nil || n < leastLead*pageSize {
				return err
			}
		}
	}}, nil
}

func sdkClient(search clixnow.SearchLeadsRequest, opts ...clixnow.Option) func(baseURL string) (client, error) {
	return func(baseURL string) (client, error) {
		c, err := clixnow.NewClient("acme", token, append(opts, clixnow.WithBaseURL(baseURL))...)
		if err != nil {
			return client{}, err
		}
		lead := sdkLead()
		return client{
			read: func(ctx context.Context, t *tally) error {
				for l, err := range c.SearchLeads(ctx, search) {
					if err != nil {
						return err
					}
					t.lead(l.ID, l.BrandID, [3]time.Time{l.CreatedOn, l.UpdatedOn, l.FTDDate}, l.Email, l.Status,
						l.CRMID, l.BrandName,
						l.ClickID, l.Sub2, l.SubCampaign, l.Keyword, l.Placement, string(l.ClientType))
				}
				return nil
			},
			create: func(ctx context.Context) error {
				resp, err := c.CreateLead(ctx, lead)
				if err != nil {
					return err
				}
				return checkID(resp.LeadID)
			},
		}, nil
	}
}

func sdkLead() clixnow.CreateLeadRequest {
	return clixnow.CreateLeadRequest{
		FirstName: "Allison", LastName: "Brown", Email: "allison.brown@example.com", Phone: "+41123456789",
		Password: "Password123!", CountryCode: "CH", LanguageCode: "EN", ReferralURL: "https://website.com",
		SubCampaign: "subcampaign", Keyword: "test", Placement: "landing_page", ClickID: "20fn4ngo56n3snf74",
		Sub2:       "sub2",
		DeviceType: "Mobile", DeviceName: "iPhone16", OSName: "iOS", Browser: "Safari Mobile",
		Carrier:   clixnow.CarrierMobile,
		IPAddress: netip.AddrFrom4([4]byte{1, 1, 1, 1}),
	}
}

func checkID(id int64) error {
	if id != 123456 {
		return fmt.Errorf("lead id %d", id)
	}
	return nil
}

// klauspost requests gzip by itself, so that net/http does not decompress the
// response, and decompresses it.
type klauspost struct{ http.RoundTripper }

func (k klauspost) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := k.RoundTripper.RoundTrip(req)
	if err != nil || resp.Header.Get("Content-Encoding") != "gzip" {
		return resp, err
	}
	reader, err := gzip.NewReader(resp.Body)
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	resp.Body = unpacked{reader, resp.Body}
	return resp, nil
}

type unpacked struct {
	io.Reader
	io.Closer
}
