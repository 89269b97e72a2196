package mock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// ids keeps the next id of a lead in a file. If the mock is killed, some ids
// are left out, but none is used again.
type ids struct {
	// path is "" if there is no file.
	path string
	next int64
	// reserved is the id in the file.
	reserved int64
}

// load reads the file. If there is none, the next id is first.
func (i *ids) load(first int64) error {
	i.next = first
	data, err := os.ReadFile(i.path)
	if i.path == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		i.next, err = strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	}
	if err != nil || i.next < 1 {
		return fmt.Errorf("read --state %s: it must hold the next id, or not exist; choose another file", i.path)
	}
	i.reserved = i.next
	return nil
}

// use notes that a lead has an id.
func (i *ids) use(id int64) error {
	i.next = max(i.next, id+1)
	if i.next <= i.reserved {
		return nil
	}
	return i.save(1000) // so it does not write for each lead
}

// save writes the next id plus ahead.
func (i *ids) save(ahead int64) error {
	if i.path == "" {
		return nil
	}
	err := os.WriteFile(i.path+".new", fmt.Appendln(nil, i.next+ahead), 0o600)
	if err == nil {
		err = os.Rename(i.path+".new", i.path)
	}
	if err != nil {
		return fmt.Errorf("save --state: %w", err)
	}
	i.reserved = i.next + ahead
	return nil
}
