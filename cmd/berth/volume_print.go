package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/berth-storage/berth/internal/control"
	"github.com/berth-storage/berth/internal/wipe"
)

// columns is how wide lines for people are at most. Only a word that is longer
// goes over it: a path or an identity is there to be copied.
const columns = 80

// printVolume prints what a list shows of a volume. A listing of thousands is
// searched, so its first line has all that it is searched for.
func printVolume(w io.Writer, v control.Volume) {
	fmt.Fprintf(w, "%s  %-11s  %s\n", v.ID, v.State, place(v))
	printWrapped(w, "    ", strings.TrimSuffix(fmt.Sprintf("PV %s, claim %s, disk %s, %s", pvText(v), orNone(v.Claim), diskText(v), sizeText(v)), ", "))
	if v.Reason != "" {
		printWrapped(w, "    ", "held back: "+v.Reason)
	}
	if v.Asked != "" {
		printWrapped(w, "    ", fmt.Sprintf("asked for: %s, at %s", v.Asked, v.AskedAt))
	}
}

// printDetails prints all of a volume.
func printDetails(w io.Writer, v control.Volume) {
	for _, row := range [][2]string{
		{"volume", v.ID}, {"state", v.State}, {"place", place(v)}, {"size", sizeText(v)}, {"disk", orUnknown(v.Identity)}, {"path", orNone(v.Path)},
		{"PV", pvText(v)}, {"claim", orNone(v.Claim)}, {"reason", v.Reason}, {"asked for", strings.TrimSuffix(v.Asked+", at "+v.AskedAt, ", at ")},
	} {
		if row[1] != "" {
			printWrapped(w, fmt.Sprintf("%-11s", row[0]), row[1])
		}
	}
}

func place(v control.Volume) string {
	switch {
	case v.Pool != "":
		return v.Entry + " in pool " + v.Pool
	case v.Class == "" && v.Entry == "":
		return "?"
	}
	return v.Class + "/" + v.Entry
}

// sizeText is "" where the size is not known.
func sizeText(v control.Volume) string {
	if v.Bytes == 0 {
		return ""
	}
	return wipe.Bytes(v.Bytes)
}

func pvText(v control.Volume) string {
	if v.PV == "" {
		return "none"
	}
	return fmt.Sprintf("%s (%s)", v.PV, v.PVPhase)
}

func diskText(v control.Volume) string {
	if v.Path == "" {
		return orUnknown(v.Identity) + ", which is not there"
	}
	return v.Identity + " at " + v.Path
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// printWrapped prints text behind a head, and what does not fit beneath it.
func printWrapped(w io.Writer, head, text string) {
	line, indent := head, strings.Repeat(" ", utf8.RuneCountInString(head))
	for i, word := range strings.Fields(text) {
		if i > 0 && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns {
			fmt.Fprintln(w, line)
			line = indent + word
			continue
		}
		if i > 0 {
			line += " "
		}
		line += word
	}
	fmt.Fprintln(w, line)
}
