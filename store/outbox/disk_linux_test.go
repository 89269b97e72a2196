package outbox_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/store/outbox"
)

// TestFullDisk checks that Add returns an error that can be repeated while the
// disk is full, and that Work goes on when it has space.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=3m"); err != nil {
		t.Skip("a small disk cannot be mounted: ", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(folder, syscall.MNT_DETACH)) })
	k, api := sqliteKind(), newFakeAPI(t)
	r := k.start(t, outbox.SQLiteAddress(filepath.Join(folder, "signups.db")), []*fakeAPI{api},
		func(opts *outbox.Options) { opts.TryTimeout = 2 * time.Second })
	api.down.Store(http.StatusTooManyRequests)
	accepted := []string{r.add(t, "first").ID}
	eventually(t, func() bool { return r.get(t, accepted[0]).Tries > 0 })
	require.NoError(t, r.Check(t.Context()))

	filler, err := os.Create(filepath.Join(folder, "filler"))
	require.NoError(t, err)
	whileFull := func(do func() error) (err error) {
		for range 1000 { // a checkpoint may leave some space
			for size := 1 << 16; size > 0; {
				if _, err := io.CopyN(filler, zeros{}, int64(size)); err != nil {
					size /= 2
				}
			}
			if err = do(); err != nil {
				break
			}
		}
		return err
	}
	n := 0
	refused := whileFull(func() error {
		n++
		s, err := r.Add(t.Context(), newLead(fmt.Sprint("full", n)))
		if err == nil {
			accepted = append(accepted, s.ID)
		}
		return err
	})
	require.ErrorIs(t, refused, outbox.ErrDatabase)
	require.ErrorContains(t, refused, "full")
	require.ErrorIs(t, whileFull(func() error { return r.Check(t.Context()) }), outbox.ErrDatabase)
	api.down.Store(0)
	eventually(t, func() bool {
		_ = whileFull(func() error { return io.EOF })
		return strings.Contains(r.log.String(), "disk is full")
	}, r.log)
	assert.Less(t, strings.Count(r.log.String(), "level=ERROR"), 20, "a few lines, and not one for each failure")

	require.NoError(t, filler.Close())
	require.NoError(t, os.Remove(filler.Name()))
	eventually(t, func() bool { return r.Check(t.Context()) == nil })
	s, err := r.Add(t.Context(), newLead(fmt.Sprint("full", n)))
	require.NoError(t, err, "the same sign-up can be repeated")
	for _, id := range append(accepted, s.ID) {
		r.waitFor(t, id, outbox.Registered)
	}
	assert.Len(t, api.Leads(), len(accepted)+1)
}

// zeros is a reader of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
