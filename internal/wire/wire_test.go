package wire_test

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go/internal/wire"
)

// sample has a field of every type that wire knows.
type sample struct {
	ID      int64
	Name    string
	Active  bool
	Created time.Time
	Address netip.Addr
	Extra   map[string]json.RawMessage
}

func (s *sample) wire() wire.Object {
	return wire.Object{
		Fields: []wire.Field{
			{Name: "id", Value: &s.ID, Keep: true},
			{Name: "name", Value: &s.Name},
			{Name: "active", Value: &s.Active},
			{Name: "createdOn", Value: &s.Created},
			{Name: "ipAddress", Value: &s.Address},
		},
		Extra: &s.Extra,
	}
}

func decodeList(data string) (list []sample, err error) {
	var s sample
	err = s.wire().DecodeList([]byte(data), func() error {
		list = append(list, s)
		s = sample{}
		return nil
	})
	return list, err
}

func TestError(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "[3].createdOn: not a date", (&wire.Error{Path: "[3].createdOn", Problem: "not a date"}).Error())
	assert.Equal(t, "malformed JSON", (&wire.Error{Problem: "malformed JSON"}).Error())
}

// An unsupported type is a mistake in our own lists of fields.
func TestUnsupportedType(t *testing.T) {
	t.Parallel()
	object := wire.Object{Fields: []wire.Field{{Name: "ratio", Value: new(float64), Keep: true}}}
	const problem = "wire: unsupported type of field ratio"
	assert.PanicsWithValue(t, problem, func() { _ = object.Decode([]byte(`{"ratio":1}`)) })
	assert.PanicsWithValue(t, problem, func() { _, _ = object.Append(nil) })
}
