package clixnow

import "hash/maphash"

func leadID(l *Lead) int64 { return l.ID }

// leadVersion returns a function that computes a fingerprint of a lead. The
// fingerprint covers all fields except Extra. Extra may hold values that change
// at each read, such as a signed link. A new field of Lead belongs here too.
func leadVersion() func(*Lead) uint64 {
	type shown struct {
		texts   [10]string
		numbers [8]int64
	}
	seed := maphash.MakeSeed()
	return func(l *Lead) uint64 {
		return maphash.Comparable(seed, shown{
			[...]string{
				l.Email, l.Status, l.CRMID, l.BrandName, l.ClickID, l.Sub2, l.SubCampaign, l.Keyword, l.Placement,
				string(l.ClientType),
			},
			[...]int64{
				l.ID, l.BrandID, l.CreatedOn.Unix(), l.UpdatedOn.Unix(), l.FTDDate.Unix(),
				int64(l.CreatedOn.Nanosecond()), int64(l.UpdatedOn.Nanosecond()), int64(l.FTDDate.Nanosecond()),
			},
		})
	}
}
