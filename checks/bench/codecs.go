package main

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/bytedance/sonic"
	"github.com/go-faster/jx"
	"github.com/goccy/go-json"
)

// This file is the hand-written client with other libraries for JSON. Each is
// used as its documentation recommends.

// quickText is a flexText that does not use encoding/json for most texts.
type quickText string

func (t *quickText) UnmarshalJSON(data []byte) error {
	if data[0] != '"' || bytes.IndexByte(data, '\\') >= 0 {
		return (*flexText)(t).UnmarshalJSON(data)
	}
	*t = quickText(data[1 : len(data)-1])
	return nil
}

type (
	quickLead     = leadOf[quickText, flexTime]
	quickResponse = responseOf[quickText]
	quickCodec    = codec[quickText, flexTime]
)

// readAll reads the body into b, with one allocation if its length is known.
func readAll(resp *http.Response, b interface {
	io.Writer
	Grow(n int)
},
) error {
	b.Grow(int(max(resp.ContentLength, 0)) + bytes.MinRead)
	_, err := io.Copy(b, resp.Body)
	return err
}

func goccyCodec() quickCodec {
	return quickCodec{
		func(lead *handRequest) ([]byte, error) { return json.MarshalOf(lead) },
		decodeGoccy[[]quickLead], decodeGoccy[quickResponse],
	}
}

func decodeGoccy[V any](resp *http.Response) (v V, err error) {
	var body bytes.Buffer
	if err := readAll(resp, &body); err != nil {
		return v, err
	}
	err = json.UnmarshalOf(body.Bytes(), &v)
	return v, err
}

func newSonic(baseURL string) (client, error) {
	err := sonic.PretouchMany([]reflect.Type{
		reflect.TypeFor[[]quickLead](), reflect.TypeFor[quickResponse](), reflect.TypeFor[handRequest](),
	})
	if err != nil {
		return client{}, err
	}
	return newHand(quickCodec{
		func(lead *handRequest) ([]byte, error) { return sonic.Marshal(lead) },
		decodeSonic[[]quickLead], decodeSonic[quickResponse],
	})(baseURL)
}

// decodeSonic decodes from a string, because sonic would copy a slice.
func decodeSonic[V any](resp *http.Response) (v V, err error) {
	var body strings.Builder
	if err := readAll(resp, &body); err != nil {
		return v, err
	}
	err = sonic.UnmarshalString(body.String(), &v)
	return v, err
}

// newJX returns a client that only reads. ogen generates what creates a lead by
// jx.
func newJX(baseURL string) (client, error) {
	buffers := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	hc := &http.Client{Transport: newTransport(), Timeout: 30 * time.Second}
	return client{read: handRead(baseURL, hc, func(resp *http.Response) (leads []quickLead, err error) {
		body := buffers.Get().(*bytes.Buffer)
		defer buffers.Put(body)
		body.Reset()
		if err := readAll(resp, body); err != nil {
			return nil, err
		}
		d := jx.GetDecoder()
		defer jx.PutDecoder(d)
		d.ResetBytes(body.Bytes())
		err = d.Arr(func(d *jx.Decoder) error {
			leads = append(leads, quickLead{})
			lead := &leads[len(leads)-1]
			return d.ObjBytes(func(d *jx.Decoder, key []byte) error { return jxField(d, key, lead) })
		})
		return leads, err
	})}, nil
}

func jxField(d *jx.Decoder, key []byte, l *quickLead) (err error) {
	if d.Next() == jx.Null {
		return d.Null()
	}
	switch string(key) {
	case "id":
		l.ID, err = d.Int64()
	case "email":
		l.Email, err = d.Str()
	case "status":
		l.Status, err = d.Str()
	case "crmId":
		l.CRMID, err = jxText(d)
	case "brandId":
		l.BrandID, err = d.Int64()
	case "brandName":
		l.BrandName, err = d.Str()
	case "createdOn":
		l.CreatedOn, err = jxTime(d)
	case "updatedOn":
		l.UpdatedOn, err = jxTime(d)
	case "ftdDate":
		l.FTDDate = new(flexTime)
		*l.FTDDate, err = jxTime(d)
	case "clickId":
		l.ClickID, err = jxText(d)
	case "sub2":
		l.Sub2, err = d.Str()
	case "subCampaign":
		l.SubCampaign, err = d.Str()
	case "keyword":
		l.Keyword, err = d.Str()
	case "placement":
		l.Placement, err = d.Str()
	case "clientType":
		l.ClientType, err = d.Str()
	default:
		err = d.Skip()
	}
	return err
}

// jxText reads a text or a number.
func jxText(d *jx.Decoder) (quickText, error) {
	if d.Next() == jx.Number {
		number, err := d.Num()
		return quickText(number), err
	}
	text, err := d.Str()
	return quickText(text), err
}

func jxTime(d *jx.Decoder) (flexTime, error) {
	text, err := d.StrBytes()
	if err != nil {
		return flexTime{}, err
	}
	t, err := parseDate(string(text))
	return flexTime{t}, err
}
