package clixnowtest_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestAddLeads(t *testing.T) {
	t.Parallel()
	var (
		now     = date("2021-08-08T12:00:00.302Z")
		created = date("2021-08-01T00:00:00.001Z")
		updated = date("2021-08-02T00:00:00.002Z")
	)
	clock := newClock("2021-08-08T12:00:00.302999Z")
	server := start(t, clixnowtest.WithClock(clock.now))
	assert.Empty(t, server.AddLeads())
	added := server.AddLeads(
		clixnow.Lead{Email: "a@example.com"},
		clixnow.Lead{ID: 200000, CreatedOn: created.Add(999_999)},
		clixnow.Lead{UpdatedOn: updated.Add(999_999), Status: "Old"},
		clixnow.Lead{ID: 3, CreatedOn: created, UpdatedOn: updated, FTDDate: updated.Add(1)},
	)
	want := []clixnow.Lead{
		{ID: 200001, Email: "a@example.com", CreatedOn: now, UpdatedOn: now},
		{ID: 200000, CreatedOn: created, UpdatedOn: created},
		{ID: 200002, Status: "Old", CreatedOn: updated, UpdatedOn: updated},
		{ID: 3, CreatedOn: created, UpdatedOn: updated, FTDDate: updated},
	}
	assert.Equal(t, want, added)
	assert.Equal(t, []clixnow.Lead{want[3], want[1], want[0], want[2]}, server.Leads(), "by ID")

	added = server.AddLeads(clixnow.Lead{ID: 3, Email: "b@example.com"}, clixnow.Lead{ID: 3, Email: "c@example.com"})
	assert.Equal(t, "b@example.com", added[0].Email)
	assert.Len(t, server.Leads(), 4, "a lead with a used ID replaces the old one")
	assert.Equal(t, clixnow.Lead{ID: 3, Email: "c@example.com", CreatedOn: now, UpdatedOn: now}, server.Leads()[0])
	assert.Equal(t, []int64{200000, 200002, 3, 200001}, searchIDs(t, server, "orderBy=CreatedOn"))
}

func TestAddManyLeadsTwice(t *testing.T) {
	t.Parallel()
	server := start(t)
	leads := server.AddLeads(make([]clixnow.Lead, 2000)...)
	for i := range leads {
		leads[i].CreatedOn = date("2021-08-08T12:00:00Z")
		leads[i].UpdatedOn = leads[i].CreatedOn
	}
	server.AddLeads(append(leads, leads...)...)
	assert.Len(t, server.Leads(), 2000)
	assert.Len(t, searchIDs(t, server, "count=1000&skip=1000&orderBy=ModifiedOn"), 1000)
	assert.Empty(t, searchIDs(t, server, "skip=2000"))
	assert.Empty(t, searchIDs(t, server, "modifiedOnFrom=2021-08-08T12:00:00.001"))
}

func TestExtra(t *testing.T) {
	t.Parallel()
	server := start(t)
	extra := map[string]jsonValue{"score": jsonValue(`5`)}
	given := server.AddLeads(clixnow.Lead{ID: 7, Extra: extra})
	overwrite := func(extra map[string]jsonValue) {
		extra["score"][0] = '6'
		extra["more"] = jsonValue(`1`)
	}
	overwrite(extra)
	overwrite(given[0].Extra)
	overwrite(server.Leads()[0].Extra)
	var kept map[string]jsonValue
	require.NoError(t, server.UpdateLead(7, func(l *clixnow.Lead) { kept, l.Status = l.Extra, "New" }))
	overwrite(kept)
	assert.Equal(t, map[string]jsonValue{"score": jsonValue(`5`)}, server.Leads()[0].Extra)
	assert.Contains(t, search(t, server, "").body, `"score":5`)
	assert.NotContains(t, search(t, server, "").body, `more`)
}

func TestUpdateLead(t *testing.T) {
	t.Parallel()
	clock := newClock("2021-08-08T12:00:00Z")
	server := start(t, clixnowtest.WithClock(clock.now))
	server.AddLeads(clixnow.Lead{ID: 7, Email: "a@example.com", CreatedOn: date("2021-08-01T00:00:00Z")},
		clixnow.Lead{ID: 8})
	clock.set("2021-08-09T12:00:00.123456Z")
	require.NoError(t, server.UpdateLead(7, func(l *clixnow.Lead) {
		assert.Equal(t, "a@example.com", l.Email)
		l.ID, l.Status = 99, "Deposited"
		l.UpdatedOn = date("2030-01-01T00:00:00Z")
		l.FTDDate = date("2021-08-09T11:00:00.999999Z")
		l.ClientType = clixnow.ClientTypeDepositor
	}))
	assert.Equal(t, clixnow.Lead{
		ID: 7, Email: "a@example.com", Status: "Deposited", ClientType: clixnow.ClientTypeDepositor,
		CreatedOn: date("2021-08-01T00:00:00Z"),
		UpdatedOn: date("2021-08-09T12:00:00.123Z"), FTDDate: date("2021-08-09T11:00:00.999Z"),
	}, server.Leads()[0])
	assert.Equal(t, []int64{8, 7}, searchIDs(t, server, "orderBy=ModifiedOn"))
	assert.Equal(t, []int64{7}, searchIDs(t, server, "ftdDateFrom=2021-08-09T11:00:00"))
	assert.JSONEq(t, `[{
		"id": 7,
		"email": "a@example.com",
		"status": "Deposited",
		"clientType": "Depositor",
		"createdOn": "2021-08-01T00:00:00.000Z",
		"updatedOn": "2021-08-09T12:00:00.123Z",
		"ftdDate": "2021-08-09T11:00:00.999Z"
	}]`, search(t, server, "id=7").body)
	require.ErrorIs(t, server.UpdateLead(9, func(*clixnow.Lead) { t.Error("there is no such lead") }),
		clixnow.ErrLeadNotFound)
}

func TestUpdateLeadMayCallServer(t *testing.T) {
	t.Parallel()
	server := start(t)
	server.AddLeads(clixnow.Lead{ID: 7, Status: "Old"})
	require.NoError(t, server.UpdateLead(7, func(l *clixnow.Lead) {
		l.Status = "New"
		assert.Equal(t, "Old", server.Leads()[0].Status)
		assert.Contains(t, search(t, server, "").body, "Old")
		assert.Equal(t, 200, create(t, server, allison).status)
		assert.Len(t, server.Requests(), 2)
	}))
	assert.Equal(t, "New", server.Leads()[0].Status)
	assert.Len(t, server.Leads(), 2)

	cause := errors.New("panic of the caller")
	assert.PanicsWithValue(t, cause, func() { _ = server.UpdateLead(7, func(*clixnow.Lead) { panic(cause) }) })
	require.NoError(t, server.UpdateLead(7, func(*clixnow.Lead) {}), "a panic leaves the server unlocked")
}

func TestLeadsThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	server := start(t)
	broken := clixnow.Lead{ID: 7, Extra: map[string]jsonValue{"score": jsonValue(`{`)}}
	assert.Panics(t, func() { server.AddLeads(clixnow.Lead{ID: 8}, broken) })
	assert.Empty(t, server.Leads())
	server.AddLeads(clixnow.Lead{ID: 7, Status: "New"})
	require.Error(t, server.UpdateLead(7, func(l *clixnow.Lead) { l.Email = "\xff" }))
	assert.Empty(t, server.Leads()[0].Email)
	assert.Equal(t, []int64{7}, searchIDs(t, server, ""))
}

func TestDeleteLead(t *testing.T) {
	t.Parallel()
	server := start(t)
	server.AddLeads(clixnow.Lead{ID: 7}, clixnow.Lead{ID: 8})
	require.NoError(t, server.DeleteLead(7))
	assert.Len(t, server.Leads(), 1)
	for _, query := range []string{"", "id=8", "orderBy=CreatedOn", "orderBy=ModifiedOn", "orderBy=FtdDate"} {
		assert.Equal(t, []int64{8}, searchIDs(t, server, query))
	}
	assert.Empty(t, searchIDs(t, server, "id=7"))
	require.ErrorIs(t, server.DeleteLead(7), clixnow.ErrLeadNotFound)
	require.ErrorIs(t, server.UpdateLead(7, func(*clixnow.Lead) {}), clixnow.ErrLeadNotFound)
}
