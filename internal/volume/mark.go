package volume

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// A Mark is what a volume says of itself: Berth has handed it out, or is about
// to, and no verified wipe came since. It is written before the PV is created,
// written anew when a claim is seen, and taken off by a wipe. A volume without
// one says nothing of itself: the journal rules alone. It is kept in the extended
// attribute disk.MarkXattr of the volume's directory.
//
// Its text is a head line "berth-mark <version> <sum>", then JSON. The sum is
// over all but itself; every version keeps this line as it is.
type Mark struct {
	ID    string `json:"id"`              // another one for each offer; the journal has it first
	Node  string `json:"node"`            // whose agent wrote it
	PV    string `json:"pv"`              // name
	Claim *Claim `json:"claim,omitempty"` // the last one that was seen; nil: only offered so far
	// Unread says why the text could not be read; the ID then stands for the text.
	Unread string `json:"-"`
}

const (
	markMagic   = "berth-mark"
	markVersion = 1
)

// Text returns the mark as it is kept.
func (m Mark) Text() ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding a mark: %w", err)
	}
	return sealedMark(markVersion, body), nil
}

// ReadMark returns the mark with this text, one that says Unread if the text is
// damaged or a newer version's.
func ReadMark(text []byte) *Mark {
	m, err := decodeMark(text)
	if err != nil {
		sum := sha256.Sum256(text)
		return &Mark{ID: "unread-" + hex.EncodeToString(sum[:8]), Unread: err.Error()}
	}
	return &m
}

func decodeMark(text []byte) (m Mark, err error) {
	head, body, _ := bytes.Cut(text, []byte("\n"))
	var magic, sum string
	var version int
	if _, err := fmt.Sscanf(string(head), "%s %d %s", &magic, &version, &sum); err != nil || magic != markMagic {
		return m, errors.New("its first line is not a mark's")
	}
	if !bytes.Equal(text, sealedMark(version, body)) {
		return m, errors.New("its checksum does not match")
	}
	if version != markVersion {
		return m, fmt.Errorf("version %d is not known", version)
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, err
	}
	if m.ID == "" {
		return m, errors.New("it has no id")
	}
	return m, nil
}

// sealedMark returns a mark's whole text. Eight bytes of the sum are enough to
// notice damage, and an inode has room for little.
func sealedMark(version int, body []byte) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d\n%s", markMagic, version, body))
	return fmt.Appendf(nil, "%s %d %x\n%s", markMagic, version, sum[:8], body)
}

// says tells a person what the mark says.
func (m Mark) says() string {
	switch {
	case m.Unread != "":
		return fmt.Sprintf("its mark cannot be read (%s), so it may have been handed out", m.Unread)
	case m.Claim != nil:
		return fmt.Sprintf("its mark says that node %s handed it out as PV %s to claim %s", m.Node, m.PV, m.Claim)
	}
	return fmt.Sprintf("its mark says that node %s offered it as PV %s", m.Node, m.PV)
}
