package page

import (
	"cmp"
	"net/http"
	"net/netip"
	"strings"

	"github.com/mileusna/useragent"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/typed"
)

// Complete adds to a sign-up what the request of its visitor tells: the
// address, if it is valid, and the device. It does not replace fields that the
// sign-up has. It writes the phone as the API wants it, if it is a phone
// number of the country or has a country code.
func Complete(req *clixnow.CreateLeadRequest, r *http.Request, address netip.Addr) {
	if !req.IPAddress.IsValid() {
		req.IPAddress = address
	}
	device := deviceOf(r.Header)
	if req.DeviceType == "" && req.DeviceName == "" && req.OSName == "" && req.Browser == "" {
		req.DeviceType, req.DeviceName, req.OSName, req.Browser = device.kind, device.name, device.os, device.browser
	}
	region := strings.ToUpper(req.CountryCode)
	if !typed.IsRegion(region) {
		region = ""
	}
	if number, err := typed.Phone(req.Phone, region); err == nil {
		req.Phone = number
	} else if digits, err := typed.Digits(req.Phone); err == nil {
		req.Phone = digits
	}
}

type device struct{ kind, name, os, browser string }

// deviceOf reads the device from the user agent and the client hints. It
// returns nothing about a program that is not a browser.
func deviceOf(header http.Header) device {
	agent := useragent.Parse(header.Get("User-Agent"))
	d := device{name: agent.Device, os: agent.OS, browser: agent.Name}
	switch {
	case agent.Bot:
		return device{}
	case agent.Tablet:
		d.kind = "Tablet"
	case agent.Mobile, header.Get("Sec-Ch-Ua-Mobile") == "?1":
		d.kind = "Mobile"
	case agent.Desktop:
		d.kind = "Desktop"
	default:
		return device{}
	}
	if d.name == "K" { // all of Chrome's user agents of Android have this
		d.name = ""
	}
	hint := func(name string) string { return strings.Trim(header.Get(name), `"`) }
	d.name, d.os = cmp.Or(hint("Sec-Ch-Ua-Model"), d.name), cmp.Or(hint("Sec-Ch-Ua-Platform"), d.os)
	for _, text := range []*string{&d.name, &d.os, &d.browser} {
		if *text = typed.Text(strings.ToValidUTF8(*text, "")); len(*text) > 100 {
			*text = "" // this is no browser that anybody knows
		}
	}
	return d
}
