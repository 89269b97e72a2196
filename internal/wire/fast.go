package wire

import (
	"encoding/binary"
	"math/bits"
	"time"
)

// This file holds the code that exists only for speed. If the calls of plain,
// predicted and shortInteger are removed, reading becomes slower and its
// results are the same. digitPairs and daysSince1970 do what simpler code could
// do.

// words returns the 16 bytes at a position as two little-endian numbers. The
// first byte is the lowest byte of low.
func (d document) words(at int) (low, high uint64) {
	sixteen := d[at : at+16 : at+16] // the bounds are checked once
	return binary.LittleEndian.Uint64(sixteen), binary.LittleEndian.Uint64(sixteen[8:])
}

// plain reads plain text (ASCII without quotes, backslashes and control
// characters), 16 bytes at a time. It stops at the first other byte, or when
// fewer than 16 bytes of the document are left.
func (d document) plain(at int) (end int) {
	for ; at+16 <= len(d); at += 16 {
		low, high := d.words(at)
		if found := notPlain(low) | notPlain(high)<<8; found != 0 {
			return at + bits.TrailingZeros64(found)
		}
	}
	return at
}

// notPlain looks at eight bytes of text, the first of which is the lowest byte
// of x. The lowest bit that is set in the result is the index of the first byte
// that is not plain. The result is 0 if all eight bytes are plain.
//
// For each byte, the highest bit of one of two differences is set if the byte
// is not plain. That holds for all bytes up to the first one that is not plain.
// Its subtraction may borrow from the bytes after it.
//
//	byte             'a'   '"'   ' '   '\\'  '\n'  0xC3
//	with ' ' and '"' exchanged, to have all bytes to find below '!'
//	                 0x63  0x20  0x22  0x5E  0x08  0xC1
//	less '!'         0x42  0xFF  0x01  0x3D  0xE7  0xA0   control
//	byte XOR '\\'    0x3D  0x7E  0x7C  0x00  0x56  0x9F
//	less 1           0x3C  0x7D  0x7B  0xFF  0x55  0x9E   backslash
//	highest bit      0     1     0     1     1     1
//
// The multiplication moves the highest bits of the eight bytes next to each
// other, into the highest byte of the product.
func notPlain(x uint64) uint64 {
	const ones, highest = 0x0101010101010101, 0x8080808080808080
	const gather = 1 + 1<<7 + 1<<14 + 1<<21 + 1<<28 + 1<<35 + 1<<42 + 1<<49
	control, backslash := (x^ones*('"'^' '))-ones*(' '+1), (x^ones*'\\')-ones
	return (control | backslash) & highest * gather >> 56
}

// eight returns the first eight bytes of text as a little-endian number.
func eight(text []byte) uint64 { return binary.LittleEndian.Uint64(text) }

const maxPrefix = 16

// prefix is a text of at most maxPrefix bytes, in a form that can be compared
// without a loop or a call.
type prefix struct {
	low, high uint64
	// lowMask and highMask have ones for the bytes that count.
	lowMask, highMask uint64
	length            int
}

// newPrefix makes a prefix. For the text `"id":` the words are those of
// `"id":` and eleven zero bytes, and the masks are five bytes of ones and
// eleven zero bytes.
func newPrefix(text string) (p prefix) {
	var padded, mask [maxPrefix]byte
	p.length = copy(padded[:], text)
	for i := range p.length {
		mask[i] = 0xFF
	}
	p.low, p.high = document(padded[:]).words(0)
	p.lowMask, p.highMask = document(mask[:]).words(0)
	return p
}

// prefix reads a text if the document has it at the position. It does not find
// a text among the last 16 bytes of the document.
func (d document) prefix(at int, p *prefix) (end int, ok bool) {
	if at+16 > len(d) {
		return at, false
	}
	low, high := d.words(at)
	return at + p.length, (low^p.low)&p.lowMask|(high^p.high)&p.highMask == 0
}

// prediction is a member that an element of a list is likely to have.
type prediction struct {
	// prefix is what comes before the value, such as `,"email":`.
	prefix prefix
	field  *Field
	// One of these is the variable of the field, or all are nil if it has
	// another type.
	text    *string
	integer *int64
	date    *time.Time
	// repeats says whether the texts of the member are looked up in the
	// repetitions.
	repeats credit
	// day is the day of the last date of the member.
	day day
}

// mostAbsent is the number of predictions in a row that may be wrong because
// the element does not have these members.
const mostAbsent = 2

// predictMembers prepares reading members in the order of the fields and
// without white space, as nearly all servers send them. The text between two
// values can then be compared as a whole. This saves a quarter of the time or
// more. For the fields id and email the predictions are `"id":` and
// `,"email":`. A name that does not fit into a prefix ends the predictions.
func (r *reader) predictMembers(o Object) {
	r.predictions = make([]prediction, 0, len(o.Fields))
	repeats := credit(0) // a short list has few repetitions
	if len(r.data) > chunkSize {
		repeats = maxCredit
		r.repetitions = new([maxRepetitions]repetition)
	}
	comma := ""
	for i := range o.Fields {
		text := comma + `"` + o.Fields[i].Name + `":`
		if len(text) > maxPrefix {
			return
		}
		p := prediction{prefix: newPrefix(text), field: &o.Fields[i]}
		switch v := p.field.Value.(type) {
		case *string:
			p.text, p.repeats = v, repeats
		case *int64:
			p.integer = v
		case *time.Time:
			p.date = v
		}
		r.predictions = append(r.predictions, p)
		comma = ","
	}
}

// predicted reads members as long as they are predicted ones, beginning with
// the prediction next. It returns the prediction after the last one that was
// right. In
//
//	{"id":7,"email":"a@example.com", "status":"New"}
//
// it reads id and email, and stops before the comma that has a space after it.
//
// Usual values are parsed while their end is looked for. Finding the end of
// each value first, and then parsing the value, would take a tenth more
// instructions.
func (r *reader) predicted(at, next int) (end, after int, err error) {
	for i, absent := next, 0; i < len(r.predictions) && absent <= mostAbsent; i++ {
		p := &r.predictions[i]
		start, ok := r.data.prefix(at, &p.prefix)
		if !ok && i == 0 { // the other ones begin with a comma
			break
		}
		if !ok {
			absent++ // or another member comes here
			continue
		}
		first := r.data.peek(start)
		switch {
		case first <= ' ':
			return at, next, nil
		case first == '"' && p.text != nil:
			at, err = r.predictedText(p, start+1)
		case first == '"' && p.date != nil:
			at, err = r.predictedDate(p, start+1)
		default:
			at, err = r.predictedValue(p, start)
		}
		if err != nil {
			return at, i, err
		}
		absent, next = 0, i+1
	}
	return at, next, nil
}

// predictedDate reads what follows the opening quote of a date.
func (r *reader) predictedDate(p *prediction, at int) (end int, err error) {
	if end, ok := r.data.usualDate(at, p); ok {
		return end, nil
	}
	t, end, ok := r.data.date(at)
	if !ok || r.data.peek(end) != '"' {
		return r.field(p.field, at-1)
	}
	*p.date = t
	return end + 1, nil
}

// predictedText reads what follows the opening quote of a string.
func (r *reader) predictedText(p *prediction, at int) (end int, err error) {
	if p.repeats <= 0 || at+16 > len(r.data) {
		return r.newText(p, at)
	}
	known := r.repetition(p, at)
	if known.begins(r.data[at:]) {
		p.repeats = min(p.repeats+1, maxCredit)
		*p.text = r.share(known)
		return at + len(known.quoted), nil
	}
	if end, err = r.newText(p, at); err == nil {
		p.repeats -= missCost
		*known = repetition{quoted: r.data[at:end], text: *p.text}
	}
	return end, err
}

// newText reads a string that predictedText has not found.
func (r *reader) newText(p *prediction, at int) (end int, err error) {
	d := r.data
	if end = d.plain(at); d.peek(end) == '"' {
		*p.text = r.copyText(d[at:end])
		return end + 1, nil
	}
	end, holds, err := d.quoted(at)
	if err == nil {
		*p.text = r.copyText(r.text(d[at:end-1], holds))
	}
	return end, err
}

// repetition is a text that was read, and that may come again. Lists have few
// different statuses or brands. A text that is found needs no search for its
// end, no decoding, and no memory. For the second of these elements, the eight
// bytes `New","cr` lead to the slot that the first element has filled, and then
// only the four bytes `New"` are compared:
//
//	{"id":1,"status":"New","crmId":70}
//	{"id":2,"status":"New","crmId":71}
type repetition struct {
	// quoted is the text as written, with its closing quote.
	quoted document
	text   string
	// shared reports that text is a copy for all elements. It is made when the
	// text is found first, so that a text that never repeats is copied once.
	shared bool
}

const (
	// maxRepetitions is the number of texts that can be found. Each has a slot
	// that follows from its first bytes.
	maxRepetitions = 1 << repetitionBits
	repetitionBits = 7
	// sharedSize is the number of bytes of shared texts in one allocation.
	sharedSize = 1 << 10
)

// repetition returns the slot for the string at the position.
func (r *reader) repetition(p *prediction, at int) *repetition {
	const spread = 0x9E37_79B9_7F4A_7C15 // 2^64 divided by the golden ratio
	low, _ := r.data.words(at)
	return &r.repetitions[(low^p.prefix.low)*spread>>(64-repetitionBits)]
}

// begins reports whether data begins with the text.
func (k *repetition) begins(data document) bool {
	n := len(k.quoted)
	return 0 < n && n <= len(data) && string(data[:n]) == string(k.quoted)
}

// share returns the text of a repetition. It first makes a separate copy: a
// lead that is kept must not keep the chunk of another lead in memory.
func (r *reader) share(k *repetition) string {
	if !k.shared {
		k.text, k.shared = r.shared.copy(document(k.text), sharedSize), true
	}
	return k.text
}

// credit decides whether texts of a member are looked up. A text that is found
// adds 1, and another one costs missCost. The texts of a member are no longer
// looked up if 25 of the first ones differ, as emails do, or if fewer than four
// of five are found.
type credit int

const (
	maxCredit = 100
	missCost  = 4
)

// predictedValue reads other usual values: short integers and null.
func (r *reader) predictedValue(p *prediction, at int) (end int, err error) {
	switch first := r.data.peek(at); {
	case first == 'n' && string(r.data[at:min(at+4, len(r.data))]) == "null":
		return at + 4, nil
	case isDigit(first) && p.date == nil:
		if n, end, ok := r.data.shortInteger(at); ok && p.integer != nil {
			*p.integer = n
			return end, nil
		} else if ok && p.text != nil {
			*p.text = r.copyText(r.data[at:end])
			return end, nil
		}
	}
	return r.field(p.field, at)
}

// shortInteger reads a positive integer of at most 18 digits, which always fits
// into an int64. ok is false for all other numbers, for example -7, 7.0, 7e3
// and 007.
func (d document) shortInteger(at int) (n int64, end int, ok bool) {
	end = at
	if at+8 <= len(d) {
		text := eight(d[at:])
		var digits int
		n, digits = leadingDigits(text)
		end += digits
		if 0 < digits && digits < 8 {
			return n, end, d[at] != '0' && !isInNumber(d[end])
		}
	}
	for _, c := range d[end:min(at+18, len(d))] {
		if !isDigit(c) {
			break
		}
		n = 10*n + int64(c-'0')
		end++
	}
	return n, end, end > at && d[at] != '0' && !isInNumber(d.peek(end))
}

// isInNumber reports whether c may follow a digit in a number.
func isInNumber(c byte) bool { return isDigit(c) || c == '.' || c|0x20 == 'e' }

// leadingDigits parses the decimal digits that eight bytes of text begin with.
// The first byte is the lowest byte of x.
//
//	text                        4   2   0   7   ,   "   e   m
//	XOR '0'                     4   2   0   7   28  18  85  93
//	not a digit, in bit 7       0   0   0   0   1   1   1   1
//	moved up, 0 for the others  0   0   0   0   4   2   0   7
//	pairs                       0       0       42      7
//	value                       42 * 100 + 7
//
// The two multiplications add up the pairs in the upper half of the product:
// the first one the first and third pair, times 1,000,000 and 100, and the
// second one the second and fourth pair, times 10,000 and 1.
func leadingDigits(x uint64) (n int64, digits int) {
	const highest, to127 = 0x8080_8080_8080_8080, 0x7676_7676_7676_7676
	const two = 0x0000_00ff_0000_00ff
	x ^= 0x3030_3030_3030_3030
	digits = bits.TrailingZeros64((x|(x+to127))&highest) / 8 // 8 if all are digits
	x <<= 64 - 8*digits
	pairs := 10*x + x>>8
	sum := pairs&two*(1_000_000<<32+100) + pairs>>16&two*(10_000<<32+1)
	return int64(sum >> 32), digits
}

// These are the forms of the two halves of 2022-12-19T11:01, for digitPairs.
const (
	dateForm   = 0x2d_3030_2d_3030_3030 // 0000-00-
	dateNines  = 0x00_0909_00_0909_0909
	clockForm  = 0x3030_3a_3030_54_3030 // 00T00:00
	clockNines = 0x0909_00_0909_00_0909
)

// digitPairs parses the decimal digits in eight bytes of text at once. form is
// text of the expected form with zeros as digits, and nines has a 9 for each
// digit and zeros elsewhere. Both are little-endian: the last character comes
// first. If the text has another form, the result is 0.
//
//	text              2   0   2   2   -   1   2   -
//	XOR form          2   0   2   2   0   1   2   0
//	next one          0   2   2   0   1   2   0
//	10 times the digit, and the next one
//	                  20  2   22  20  1   12  20  0
//
// Pairs begin at the indexes 0, 2 and 5 here: 20, 22 and 12. The text has
// another form if a byte of the second line is above 9, or above 0 for a byte
// that is no digit. Adding what lies between that limit and 127 then sets the
// highest bit of the byte.
func digitPairs(text, form, nines uint64) uint64 {
	const highest, most = 0x8080_8080_8080_8080, 0x7f7f_7f7f_7f7f_7f7f
	digits := text ^ form
	if tooLarge := digits + (most - nines); (digits|tooLarge)&highest != 0 {
		return 0
	}
	return 10*digits + digits>>8
}

// pair returns the number that two digits make, given the result of digitPairs
// and the index of the first digit.
func pair(pairs uint64, index int) int { return int(pairs >> (8 * index) & 0xff) }

// These are the forms of :58.302 and of any byte after it, for digitPairs.
const (
	secondsForm  = 0x303030_2e_3030_3a // :00.000
	secondsNines = 0x090909_00_0909_00
)

// day is a day as text and as a time. Dates that follow each other in a list
// often have the same day, which is then not parsed again. For 2022-12-19 the
// text is "2022-12-" and "19", little-endian. The zero value is no day.
type day struct {
	yearAndMonth uint64
	dayOfMonth   uint16
	// unix is when the day begins, in seconds since 1970.
	unix int64
}

// is reports whether text, which has ten bytes, is the day.
func (p *day) is(text []byte) bool {
	return eight(text) == p.yearAndMonth && binary.LittleEndian.Uint16(text[8:]) == p.dayOfMonth
}

// usualDate reads a date with milliseconds and with Z or no zone, and its
// closing quote, into the variable of a prediction. ok is false for all other
// dates, and for 0 seconds without a fraction.
func (d document) usualDate(at int, p *prediction) (end int, ok bool) {
	const clockAt, secondsAt, length = len("2022-12-"), len("2022-12-19T11:01"), len("2022-12-19T11:01:58.302Z")
	if at+length >= len(d) {
		return at, false
	}
	text := (*[length + 1]byte)(d[at:]) // an array, so that the bounds are checked once
	last, end := text[length-1], at+length
	if last != 'Z' {
		end--
	}
	clock := digitPairs(eight(text[clockAt:secondsAt]), clockForm, clockNines)
	seconds := digitPairs(eight(text[secondsAt:length]), secondsForm|uint64(last)<<56, secondsNines)
	hour, minute, second := pair(clock, 3), pair(clock, 6), pair(seconds, 1)
	if clock == 0 || seconds == 0 || d[end] != '"' || hour > 23 || minute > 59 || second > 59 {
		return at, false
	}
	secondOfDay := int64(3600*hour + 60*minute + second)
	if !p.day.is(text[:clockAt+2]) {
		t, _, ok := d.date(at)
		if !ok {
			return at, false
		}
		p.day = day{eight(text[:clockAt]), binary.LittleEndian.Uint16(text[clockAt:]), t.Unix() - secondOfDay}
	}
	millisecond := 10*pair(seconds, 4) + int(text[length-2]-'0')
	*p.date = time.Unix(p.day.unix+secondOfDay, int64(millisecond)*int64(time.Millisecond)).UTC()
	return end + 1, true
}

// daysSince1970 returns the number of days from 1 January 1970 to a date. It
// counts in years that begin in March, so that 29 February is the last day of
// its year. For 1 March 1970 it is 719,050 days of whole years, 477 leap days,
// no whole months and 1 day, less 719,469 days. This makes 59.
//
// With time.Date, which normalizes its arguments, reading a date takes 50 %
// longer.
func daysSince1970(year, month, day int) int64 {
	if month < 3 {
		year--
		month += 12
	}
	leapDays := year/4 - year/100 + year/400
	const to1970 = 719_469 // days from the end of February in the year 0
	return int64(365*year + leapDays + (153*(month-3)+2)/5 + day - to1970)
}
