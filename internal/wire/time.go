package wire

import (
	"encoding/binary"
	"time"
)

// FormatQueryTime returns t for a query parameter: in UTC without a zone, with
// three digits of milliseconds where they are not zero. What is finer than
// that is rounded down, or up, so that a period never gets smaller.
func FormatQueryTime(t time.Time, up bool) string {
	whole := t.UTC().Truncate(time.Millisecond)
	if up && whole.Before(t) {
		if next := whole.Add(time.Millisecond); writable(next) { // .NET's last instant has no next one
			whole = next
		}
	}
	if whole.Nanosecond() == 0 {
		return whole.Format("2006-01-02T15:04:05")
	}
	return whole.Format("2006-01-02T15:04:05.000")
}

// appendTime appends a time in UTC with milliseconds, or finer where it is.
func appendTime(dst []byte, utc time.Time) []byte {
	if utc.Nanosecond()%int(time.Millisecond) != 0 {
		return utc.AppendFormat(dst, `"2006-01-02T15:04:05.999999999Z"`)
	}
	return utc.AppendFormat(dst, `"2006-01-02T15:04:05.000Z"`)
}

// writable says whether a date has a year of four digits. There is no year 0.
func writable(utc time.Time) bool {
	year := utc.Year()
	return 1 <= year && year <= 9999
}

// ParseTime reads a date like 2022-12-19T11:01:58.302Z and returns it in UTC.
// It may have up to nine digits of fraction or none, and an offset like +02:00
// instead of the Z; without either it is UTC, as .NET leaves the zone out.
// 0001-01-01T00:00:00 is the zero time, whatever its offset: it is what .NET
// prints for a date that was never set.
//
// It is no wrapper of time.Parse, which would take a call for each form of the
// zone, and lets pass what is no date here, such as an hour of one digit.
func ParseTime(text []byte) (time.Time, bool) {
	t, end, ok := document(text).date(0)
	return t, ok && end == len(text)
}

// date passes over a date, without the quotes around it.
func (d document) date(at int) (t time.Time, end int, ok bool) {
	const seconds = len("2022-12-19T11:01:58")
	if len(d)-at < seconds || d[at+16] != ':' {
		return time.Time{}, at, false
	}
	date := pairs(d[at:], 0x2d_3030_2d_3030_3030, 0x00_0909_00_0909_0909)    // 0000-00-
	clock := pairs(d[at+8:], 0x3030_3a_3030_54_3030, 0x0909_00_0909_00_0909) // 00T00:00
	year, month, day := 100*pair(date, 0)+pair(date, 2), pair(date, 5), pair(clock, 0)
	hour, minute, second := pair(clock, 3), pair(clock, 6), d.twoDigits(at+17, 59)
	nanosecond, end := d.fraction(at + seconds)
	offset, end, ok := d.zone(end)
	if !ok || year < 1 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second|nanosecond < 0 {
		return time.Time{}, at, false
	}
	t = time.Unix(86_400*days(year, month, day)+int64(3600*hour+60*minute+second), int64(nanosecond)).UTC()
	if day > 28 && t.Day() != day { // such as 30 February
		return time.Time{}, at, false
	}
	if offset == 0 || t.IsZero() {
		return t, end, true
	}
	t = t.Add(-offset)
	return t, end, writable(t)
}

// pairs reads eight bytes of a form like 00:00:00 at once. The form is a
// little-endian number, and so are the nines that stand where its digits do.
// What pair takes out of the result is 0 where the text has another form.
func pairs(text []byte, form, nines uint64) uint64 {
	const highest, others = 0x8080_8080_8080_8080, 0x7f7f_7f7f_7f7f_7f7f
	digits := binary.LittleEndian.Uint64(text) ^ form // what is none becomes 0
	if tooMuch := digits + (others - nines); (digits|tooMuch)&highest != 0 {
		return 0 // a byte is more than 9, or not 0
	}
	return 10*digits + digits>>8
}

// pair returns the number that the two digits at a place make.
func pair(pairs uint64, at int) int { return int(pairs >> (8 * at) & 0xff) }

// days counts the days from 1970 to a date, by years that begin in March, so
// that the leap day comes last. With time.Date, which has to normalize first,
// reading a date would take half as long again.
func days(year, month, day int) int64 {
	if month < 3 {
		year--
		month += 12
	}
	leap := year/4 - year/100 + year/400
	const to1970 = 719_469 // from the day before 1 March of the year 0
	return int64(365*year + leap + (153*(month-3)+2)/5 + day - to1970)
}

// twoDigits returns the value of two decimal digits, or -1 where they are none,
// or more than limit.
func (d document) twoDigits(at, limit int) int {
	tens, ones := d[at]-'0', d[at+1]-'0'
	if n := 10*int(tens) + int(ones); tens <= 9 && ones <= 9 && n <= limit {
		return n
	}
	return -1
}

// fraction passes over the fraction of a second, if there is one, as far as its
// ninth digit. The nanoseconds are -1 where it has none.
func (d document) fraction(at int) (nanosecond, end int) {
	if d.peek(at) != '.' {
		return 0, at
	}
	unit := uint(time.Second) // which is divided faster than an int
	end = at + 1
	for _, c := range d[end:min(end+9, len(d))] {
		if !isDigit(c) {
			break
		}
		unit /= 10
		nanosecond += int(unit * uint(c-'0'))
		end++
	}
	if end == at+1 {
		return -1, end
	}
	return nanosecond, end
}

// zone passes over a Z, which means UTC, or an offset like +02:00, if there is
// one.
func (d document) zone(at int) (offset time.Duration, end int, ok bool) {
	sign := d.peek(at)
	if sign == 'Z' {
		return 0, at + 1, true
	}
	if sign != '+' && sign != '-' {
		return 0, at, true
	}
	if len(d)-at < len("+02:00") || d[at+3] != ':' {
		return 0, at, false
	}
	hours, minutes := d.twoDigits(at+1, 23), d.twoDigits(at+4, 59)
	offset = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if sign == '-' {
		offset = -offset
	}
	return offset, at + len("+02:00"), hours|minutes >= 0
}
