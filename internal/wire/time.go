package wire

import "time"

// This file reads and writes dates. ParseTime lists the forms that are read.

// FormatQueryTime returns t for a query parameter: in UTC, without a zone, and
// with three digits of milliseconds if these are not zero. A finer time is
// rounded down, or up if up is true. So a period never becomes smaller.
func FormatQueryTime(t time.Time, up bool) string {
	whole := t.UTC().Truncate(time.Millisecond)
	if up && whole.Before(t) {
		if next := whole.Add(time.Millisecond); hasFourDigitYear(next) { // .NET knows no later time
			whole = next
		}
	}
	if whole.Nanosecond() == 0 {
		return whole.Format("2006-01-02T15:04:05")
	}
	return whole.Format("2006-01-02T15:04:05.000")
}

// appendTime appends a time in UTC with milliseconds, or with more digits if it
// is finer.
func appendTime(dst []byte, utc time.Time) []byte {
	if utc.Nanosecond()%int(time.Millisecond) != 0 {
		return utc.AppendFormat(dst, `"2006-01-02T15:04:05.999999999Z"`)
	}
	return utc.AppendFormat(dst, `"2006-01-02T15:04:05.000Z"`)
}

// hasFourDigitYear reports whether a date can be written. There is no year 0.
func hasFourDigitYear(utc time.Time) bool {
	year := utc.Year()
	return 1 <= year && year <= 9999
}

// ParseTime parses a date such as 2022-12-19T11:01:58.302Z and returns it in
// UTC. The fraction has up to nine digits, or is absent. The zone is Z, an
// offset such as +02:00, or absent, which means UTC. 0001-01-01T00:00:00 is the
// zero time, whatever its offset, because .NET prints it for a date that was
// never set.
//
// ParseTime does not use time.Parse, which accepts more (such as an hour of one
// digit) and needs one call for each form of the zone.
func ParseTime(text []byte) (time.Time, bool) {
	t, end, ok := document(text).date(0)
	return t, ok && end == len(text)
}

// date reads a date without the quotes around it.
func (d document) date(at int) (t time.Time, end int, ok bool) {
	const minutes, seconds = len("2022-12-19T11:01"), len("2022-12-19T11:01:58")
	if len(d)-at < seconds || d[at+minutes] != ':' {
		return time.Time{}, at, false
	}
	date := digitPairs(eight(d[at:]), dateForm, dateNines)
	clock := digitPairs(eight(d[at+len("2022-12-"):]), clockForm, clockNines)
	year, month := 100*pair(date, 0)+pair(date, 2), pair(date, 5)
	day, hour, minute := pair(clock, 0), pair(clock, 3), pair(clock, 6)
	second := d.twoDigits(at+minutes+1, 59)
	nanosecond, end := d.fraction(at + seconds)
	offset, end, ok := d.zone(end)
	if !ok || year < 1 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second|nanosecond < 0 {
		return time.Time{}, at, false
	}
	secondOfDay := int64(3600*hour + 60*minute + second)
	t = time.Unix(86_400*daysSince1970(year, month, day)+secondOfDay, int64(nanosecond)).UTC()
	if day > 28 && t.Day() != day { // the month is shorter, such as in 30 February
		return time.Time{}, at, false
	}
	if offset == 0 || t.IsZero() {
		return t, end, true
	}
	t = t.Add(-offset)
	return t, end, hasFourDigitYear(t)
}

// twoDigits returns the number that two decimal digits make. It returns -1 if
// they are not digits, or if the number is larger than limit.
func (d document) twoDigits(at, limit int) int {
	tens, ones := d[at]-'0', d[at+1]-'0'
	if n := 10*int(tens) + int(ones); tens <= 9 && ones <= 9 && n <= limit {
		return n
	}
	return -1
}

// fraction reads the fraction of a second, if there is one, up to its ninth
// digit. It returns -1 nanoseconds if no digit follows the point.
func (d document) fraction(at int) (nanosecond, end int) {
	if d.peek(at) != '.' {
		return 0, at
	}
	end = at + 1
	for ; end < at+10 && isDigit(d.peek(end)); end++ {
		nanosecond = 10*nanosecond + int(d[end]-'0')
	}
	if end == at+1 {
		return -1, end
	}
	for range at + 10 - end { // the digits that are absent
		nanosecond *= 10
	}
	return nanosecond, end
}

// zone reads a Z, or an offset such as +02:00, if there is one.
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
