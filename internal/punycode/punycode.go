// Package punycode decodes the ASCII form of internationalised domain names
// (RFC 3492).
package punycode

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// prefix is what the ASCII form of a label begins with.
const prefix = "xn--"

// DecodeDomain returns the domain with each label in its Unicode form. A label
// that cannot be decoded stays unchanged.
func DecodeDomain(domain string) string {
	labels := strings.Split(domain, ".")
	for i, label := range labels {
		if len(label) < len(prefix) || !strings.EqualFold(label[:len(prefix)], prefix) {
			continue
		}
		if decoded, ok := decode(label[len(prefix):]); ok {
			labels[i] = decoded
		}
	}
	return strings.Join(labels, ".")
}

// These are the parameters of RFC 3492, section 5.
const (
	base        = 36
	tMin        = 1
	tMax        = 26
	skew        = 38
	damp        = 700
	initialBias = 72
	initialN    = 128
	// maxLabel bounds the work for a text that is not a label. A label has at
	// most 63 bytes.
	maxLabel = 63
)

// decode decodes a label without its prefix. See RFC 3492, section 6.2.
func decode(label string) (string, bool) {
	if label == "" || len(label) > maxLabel {
		return "", false
	}
	var output []rune
	if basic := strings.LastIndexByte(label, '-'); basic > 0 {
		output = []rune(label[:basic])
		label = label[basic+1:]
	}
	n, bias, i := initialN, initialBias, 0
	for label != "" {
		start := i
		for weight, k := 1, base; ; k += base {
			if label == "" {
				return "", false
			}
			digit, ok := digitOf(label[0])
			label = label[1:]
			if !ok || digit > (math.MaxInt32-i)/weight {
				return "", false
			}
			i += digit * weight
			threshold := min(max(k-bias, tMin), tMax)
			if digit < threshold {
				break
			}
			// This cannot overflow 32 bits. bias is at most 195. So threshold
			// is 1 for at most five digits, and then below 26 for at most
			// one. Later digits are at least 26, so weight is at most a 26th
			// of the maximum.
			weight *= base - threshold
		}
		length := len(output) + 1
		bias = adapt(i-start, length, start == 0)
		n += i / length
		i %= length
		r := rune(n) //nolint:gosec // a number that is too large is no valid rune either
		if !utf8.ValidRune(r) {
			return "", false
		}
		output = slices.Insert(output, i, r)
		i++
	}
	return string(output), true
}

// adapt returns the next bias. See RFC 3492, section 6.1.
func adapt(delta, length int, first bool) int {
	if first {
		delta /= damp
	} else {
		delta /= 2
	}
	delta += delta / length
	k := 0
	for ; delta > (base-tMin)*tMax/2; k += base {
		delta /= base - tMin
	}
	return k + (base-tMin+1)*delta/(delta+skew)
}

func digitOf(c byte) (digit int, ok bool) {
	switch {
	case c >= 'a' && c <= 'z':
		return int(c - 'a'), true
	case c >= 'A' && c <= 'Z':
		return int(c - 'A'), true
	case c >= '0' && c <= '9':
		return int(c-'0') + 26, true
	}
	return 0, false
}
