package volume

import (
	"bytes"
	"fmt"
)

// Damage is a file of the journal that cannot be read as a record.
type Damage struct {
	ID   ID
	File string
	Err  error // what is wrong with it
	// Kept is why it could not be set aside; nil when it was. It is then at its
	// place still, and is set aside before anything is written there.
	Kept error
}

func (d Damage) String() string {
	if d.Kept != nil {
		return fmt.Sprintf("the journal record %s is damaged: %v; it cannot be set aside yet: %v", d.File, d.Err, d.Kept)
	}
	return fmt.Sprintf("the journal record %s is damaged: %v; it is kept as %s.damaged", d.File, d.Err, d.File)
}

// Damaged lists the files that were found damaged when the journal was opened.
func (j *Journal) Damaged() []Damage { return j.damaged }

// noteDamage returns the record that stands for a damaged one.
func (j *Journal) noteDamage(id ID, path string, data []byte, err error) Record {
	j.damaged = append(j.damaged, Damage{ID: id, File: path, Err: err})
	j.aside[id] = data
	return Record{ID: id, State: Quarantined, Lost: lostState(data),
		Reason: fmt.Sprintf("its journal record is damaged (%v) and kept as %s.damaged", err, path)}
}

// lostState returns the state that is still legible in a damaged record. It is
// "" for those in which a volume is not to be rebuilt, whatever is there now: a
// wipe may have begun, or a person was to decide.
func lostState(data []byte) State {
	for _, s := range []State{Quarantined, Withdrawing, Wiping, Wiped} {
		if bytes.Contains(data, []byte(s)) {
			return ""
		}
	}
	for _, s := range []State{Used, Published, Clean} {
		if bytes.Contains(data, []byte(`"state": "`+s+`"`)) {
			return s
		}
	}
	return Illegible
}

// setAside keeps the damaged files under other names and writes down that their
// volumes are quarantined. What cannot be written now, as on a full disk, is
// written by the next Put: until then the file itself says what it did.
func (j *Journal) setAside() {
	for i, d := range j.damaged {
		j.damaged[i].Kept = j.Put(j.records[d.ID])
	}
}

// keepDamaged copies a damaged file that is about to be replaced, so that the
// record is never missing.
func (j *Journal) keepDamaged(id ID) error {
	j.mu.Lock()
	data, is := j.aside[id]
	j.mu.Unlock()
	if !is {
		return nil
	}
	if err := writeDurably(j.dir, string(id)+".json.damaged", data); err != nil {
		return fmt.Errorf("setting a damaged journal record aside: %w", err)
	}
	j.mu.Lock()
	delete(j.aside, id)
	j.mu.Unlock()
	return nil
}
