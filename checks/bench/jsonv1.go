//go:build !go1.27 || !goexperiment.jsonv2

package main

import "errors"

// hasJSONv2 reports that encoding/json/v2 is in the standard library.
const hasJSONv2 = false

func newNative(string) (client, error) { return client{}, errors.New("built without encoding/json/v2") }
