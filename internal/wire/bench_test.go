package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/internal/wire"
)

// record has as many fields as the largest type that is read in long lists.
type record struct {
	ID          int64     `json:"id"`
	Email       string    `json:"email"`
	Status      string    `json:"status"`
	CRMID       string    `json:"crmId"`
	BrandID     int64     `json:"brandId"`
	BrandName   string    `json:"brandName"`
	CreatedOn   time.Time `json:"createdOn"`
	UpdatedOn   time.Time `json:"updatedOn"`
	FTDDate     time.Time `json:"ftdDate"`
	ClickID     string    `json:"clickId"`
	Sub2        string    `json:"sub2"`
	SubCampaign string    `json:"subCampaign"`
	Keyword     string    `json:"keyword"`
	Placement   string    `json:"placement"`
	ClientType  string    `json:"clientType"`

	Extra map[string]json.RawMessage `json:"-"`
}

func (r *record) wire() wire.Object {
	return wire.Object{
		Fields: []wire.Field{
			{Name: "id", Value: &r.ID, Keep: true},
			{Name: "email", Value: &r.Email},
			{Name: "status", Value: &r.Status},
			{Name: "crmId", Value: &r.CRMID},
			{Name: "brandId", Value: &r.BrandID},
			{Name: "brandName", Value: &r.BrandName},
			{Name: "createdOn", Value: &r.CreatedOn},
			{Name: "updatedOn", Value: &r.UpdatedOn},
			{Name: "ftdDate", Value: &r.FTDDate},
			{Name: "clickId", Value: &r.ClickID},
			{Name: "sub2", Value: &r.Sub2},
			{Name: "subCampaign", Value: &r.SubCampaign},
			{Name: "keyword", Value: &r.Keyword},
			{Name: "placement", Value: &r.Placement},
			{Name: "clientType", Value: &r.ClientType},
		},
		Extra: &r.Extra,
	}
}

// page returns an array of n records of about 366 bytes.
func page(n int) []byte {
	records := make([]string, n)
	for i := range records {
		records[i] = fmt.Sprintf(`{"id":%d,"email":"first.last+%d@example.com","status":"No Answer","crmId":"%d",`+
			`"brandId":17,"brandName":"Example Brand","createdOn":"2022-12-19T11:01:58.302Z",`+
			`"updatedOn":"2022-12-20T08:15:00.117Z","ftdDate":"2022-12-21T09:30:12Z","clickId":"c0ffee-%08d",`+
			`"sub2":"banner-7","subCampaign":"spring-sale","keyword":"online trading","placement":"sidebar",`+
			`"clientType":"Depositor"}`, i+1, i, 900000+i, i)
	}
	return []byte("[" + strings.Join(records, ",") + "]")
}

func BenchmarkDecodeList(b *testing.B) {
	data := page(1000)
	b.Run("wire", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		list := make([]record, 0, 1000)
		for b.Loop() {
			list = list[:0]
			var r record
			require.NoError(b, r.wire().DecodeList(data, func() error {
				list = append(list, r)
				r = record{}
				return nil
			}))
		}
	})
	b.Run("wire, general code", func(b *testing.B) {
		spaced := bytes.ReplaceAll(data, []byte(","), []byte(", "))
		b.SetBytes(int64(len(spaced)))
		b.ReportAllocs()
		for b.Loop() {
			var r record
			require.NoError(b, r.wire().DecodeList(spaced, func() error { return nil }))
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		list := make([]record, 0, 1000)
		for b.Loop() {
			list = list[:0]
			require.NoError(b, json.Unmarshal(data, &list))
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	data := page(1)
	data = data[1 : len(data)-1]
	b.ReportAllocs()
	for b.Loop() {
		var r record
		require.NoError(b, r.wire().Decode(data))
	}
}

func BenchmarkParseTime(b *testing.B) {
	text := []byte("2022-12-19T11:01:58.302Z")
	b.Run("wire", func(b *testing.B) {
		for b.Loop() {
			wire.ParseTime(text)
		}
	})
	b.Run("time", func(b *testing.B) {
		for b.Loop() {
			_, _ = time.Parse(time.RFC3339Nano, string(text))
		}
	})
}

func BenchmarkFormatQueryTime(b *testing.B) {
	t := time.Date(2022, 12, 19, 11, 1, 58, 302e6, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		wire.FormatQueryTime(t, true)
	}
}

func BenchmarkAppend(b *testing.B) {
	var r record
	require.NoError(b, r.wire().DecodeList(page(1), func() error { return nil }))
	object := r.wire()
	b.Run("wire", func(b *testing.B) {
		b.ReportAllocs()
		var buffer []byte
		for b.Loop() {
			buffer, _ = object.Append(buffer[:0])
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = json.Marshal(&r)
		}
	})
}
