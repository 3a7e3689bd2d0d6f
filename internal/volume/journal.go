package volume

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// The journal's file format: a head line "berth-journal <version> <sha256>",
// then the record as JSON. The sum is over the version and the record, so that
// a damaged version is not taken for a newer one: every version keeps this line
// as it is. A file is named <volume ID>.json.
const (
	journalMagic   = "berth-journal"
	journalVersion = 1
)

// ErrNewer is returned for a journal that a newer Berth has written. It is left
// untouched.
var ErrNewer = errors.New("written by a newer version of Berth")

// Journal is the agent's crash-safe record of its volumes: one file a volume in
// one directory. Put has returned only when the record would survive a power
// cut. It may be used from several goroutines.
type Journal struct {
	dir     string
	writing chan struct{} // as many places as writes may be under way

	mu      sync.Mutex // guards the rest
	records map[ID]Record
	aside   map[ID][]byte // damaged files that could not be set aside yet
	damaged []Damage
}

// OpenJournal reads the journal in dir, which is made if it is not there.
// A damaged file is set aside under the name <file>.damaged and its volume is
// quarantined, because it is not known any more whether a claim had it.
// A file of a newer version is an error, ErrNewer, and nothing is changed then:
// one such record tells that a newer version was at work here, and what that
// meant by the others is not known.
func OpenJournal(dir string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	j := &Journal{dir: dir, writing: make(chan struct{}, writers), records: map[ID]Record{}, aside: map[ID][]byte{}}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("opening journal: %w", err)
		}
		id := ID(strings.TrimSuffix(e.Name(), ".json"))
		r, err := decodeRecord(data)
		if err == nil && r.ID != id {
			err = fmt.Errorf("it is about volume %s", r.ID)
		}
		if errors.Is(err, ErrNewer) {
			return nil, fmt.Errorf("opening journal: %s: %w", path, err)
		}
		if err != nil {
			r = j.noteDamage(id, path, data, err)
		}
		j.records[id] = r
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".tmp-") { // of a write that a crash stopped
			_ = os.Remove(filepath.Join(dir, e.Name())) // where that cannot be, it does no harm
		}
	}
	j.setAside()
	return j, nil
}

// Get returns the record of a volume.
func (j *Journal) Get(id ID) (Record, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r, ok := j.records[id]
	return r, ok
}

// All returns every record.
func (j *Journal) All() []Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Record, 0, len(j.records))
	for _, r := range j.records {
		out = append(out, r)
	}
	return out
}

// writers is how many records are written together. Each write waits in the
// kernel, and takes a thread while it does; more of them gain nothing.
const writers = 8

// Put writes a record so that it survives a power cut: a new file, fsync,
// rename over the old one, fsync of the directory.
func (j *Journal) Put(r Record) error {
	data, err := encodeRecord(r)
	if err != nil {
		return fmt.Errorf("writing journal: %w", err)
	}
	j.writing <- struct{}{}
	defer func() { <-j.writing }()
	if err := j.keepDamaged(r.ID); err != nil {
		return err
	}
	if err := writeDurably(j.dir, string(r.ID)+".json", data); err != nil {
		return fmt.Errorf("writing journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records[r.ID] = r
	return nil
}

// Remove takes a record out, so that it stays out after a power cut. One that is
// not there is no error. It is for volumes that are no more.
func (j *Journal) Remove(id ID) error {
	j.writing <- struct{}{}
	defer func() { <-j.writing }()
	err := os.Remove(filepath.Join(j.dir, string(id)+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = syncDir(j.dir)
	}
	if err != nil {
		return fmt.Errorf("writing journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.records, id)
	return nil
}

func writeDurably(dir, name string, data []byte) (err error) {
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func encodeRecord(r Record) ([]byte, error) {
	body, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, err
	}
	return sealed(journalVersion, append(body, '\n')), nil
}

// sealed returns a file's whole content.
func sealed(version int, body []byte) []byte {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %d\n%s", journalMagic, version, body)
	return fmt.Appendf(nil, "%s %d %x\n%s", journalMagic, version, sum.Sum(nil), body)
}

func decodeRecord(data []byte) (Record, error) {
	head, body, _ := bytes.Cut(data, []byte("\n"))
	var magic, sum string
	var version int
	if _, err := fmt.Sscanf(string(head), "%s %d %s", &magic, &version, &sum); err != nil || magic != journalMagic {
		return Record{}, errors.New("its first line is not a journal's")
	}
	if !bytes.Equal(data, sealed(version, body)) {
		return Record{}, errors.New("its checksum does not match")
	}
	if version > journalVersion {
		return Record{}, fmt.Errorf("it has version %d, and this Berth knows versions up to %d: %w; start that version again on this node", version, journalVersion, ErrNewer)
	}
	if version < journalVersion {
		return Record{}, fmt.Errorf("version %d is not known", version)
	}
	var r Record
	if err := json.Unmarshal(body, &r); err != nil {
		return Record{}, err
	}
	return r, nil
}
