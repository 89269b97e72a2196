//go:build go1.27 && goexperiment.jsonv2

package main

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"net/http"
)

// This file is the hand-written client with encoding/json/v2, whose
// documentation recommends UnmarshalJSONFrom instead of UnmarshalJSON.

// hasJSONv2 reports that encoding/json/v2 is in the standard library.
const hasJSONv2 = true

// nativeText accepts a text or a number.
type nativeText string

func (t *nativeText) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	value, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch value.Kind() {
	case 'n':
	case '"', '0':
		*t = nativeText(value.String())
	default:
		return fmt.Errorf("a text or a number, not %v", value.Kind())
	}
	return nil
}

// nativeTime accepts a date with or without a zone.
type nativeTime struct{ flexTime }

func (t *nativeTime) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	value, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch value.Kind() {
	case 'n':
	case '"':
		t.Time, err = parseDate(value.String())
	default:
		err = fmt.Errorf("a date, not %v", value.Kind())
	}
	return err
}

func newNative(baseURL string) (client, error) {
	return newHand(codec[nativeText, nativeTime]{
		func(lead *handRequest) ([]byte, error) { return json.Marshal(lead) },
		decodeNative[[]leadOf[nativeText, nativeTime]], decodeNative[responseOf[nativeText]],
	})(baseURL)
}

func decodeNative[V any](resp *http.Response) (v V, err error) {
	err = json.UnmarshalRead(resp.Body, &v)
	return v, err
}
