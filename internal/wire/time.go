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
	const seconds = len("2022-12-19T11:01:58")
	if len(text) < seconds || text[16] != ':' {
		return time.Time{}, false
	}
	date := pairs(text, 0x2d_3030_2d_3030_3030, 0x00_0909_00_0909_0909)      // 0000-00-
	clock := pairs(text[8:], 0x3030_3a_3030_54_3030, 0x0909_00_0909_00_0909) // 00T00:00
	year, month, day := 100*pair(date, 0)+pair(date, 2), pair(date, 5), pair(clock, 0)
	hour, minute, second := pair(clock, 3), pair(clock, 6), twoDigits(text[17], text[18], 59)
	nanosecond, rest := fraction(text[seconds:])
	offset, ok := zone(rest)
	if !ok || year < 1 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second|nanosecond < 0 {
		return time.Time{}, false
	}
	t := time.Unix(86_400*days(year, month, day)+int64(3600*hour+60*minute+second), int64(nanosecond)).UTC()
	if day > 28 && t.Day() != day { // such as 30 February
		return time.Time{}, false
	}
	if offset == 0 || t.IsZero() {
		return t, true
	}
	t = t.Add(-offset)
	return t, writable(t)
}

// pairs reads eight bytes of a form like 00:00:00 at once. The form is a
// little-endian number, and so are the nines that stand where its digits do. What
// pair takes out of the result is 0 where the text has another form.
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

// days counts the days from 1970 to a date, by years that begin in March, so that the
// leap day comes last. With time.Date, which has to normalize first, reading a date
// would take half as long again.
func days(year, month, day int) int64 {
	if month < 3 {
		year--
		month += 12
	}
	leap := year/4 - year/100 + year/400
	const to1970 = 719_469 // from the day before 1 March of the year 0
	return int64(365*year + leap + (153*(month-3)+2)/5 + day - to1970)
}

// twoDigits returns the value of two decimal digits, or -1 where they are none, or
// more than limit.
func twoDigits(tens, ones byte, limit int) int {
	tens -= '0'
	ones -= '0'
	if n := 10*int(tens) + int(ones); tens <= 9 && ones <= 9 && n <= limit {
		return n
	}
	return -1
}

// fraction reads the fraction of a second, if there is one, and returns what
// follows it. The nanoseconds are -1 where it has no digits, or more than nine.
func fraction(text []byte) (nanosecond int, rest []byte) {
	if len(text) == 0 || text[0] != '.' {
		return 0, text
	}
	unit := int(time.Second)
	i := 1
	for ; i < len(text) && isDigit(text[i]); i++ {
		nanosecond = 10*nanosecond + int(text[i]-'0')
		unit /= 10 // comes to 0 at the tenth digit
	}
	if i == 1 || unit == 0 {
		return -1, nil
	}
	return nanosecond * unit, text[i:]
}

// zone reads nothing or Z, which mean UTC, or an offset like +02:00.
func zone(text []byte) (offset time.Duration, ok bool) {
	if len(text) == 0 || string(text) == "Z" {
		return 0, true
	}
	if len(text) != len("+02:00") || text[0] != '+' && text[0] != '-' || text[3] != ':' {
		return 0, false
	}
	hours, minutes := twoDigits(text[1], text[2], 23), twoDigits(text[4], text[5], 59)
	offset = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if text[0] == '-' {
		offset = -offset
	}
	return offset, hours|minutes >= 0
}
