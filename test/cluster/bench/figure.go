package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The conditions that figures are taken under.
const (
	Quiet  = "nothing else running"
	Loaded = "beside a load"
)

// Figure is one line of the result.
type Figure struct {
	Name      string `json:"name"`
	Condition string `json:"condition"`
	// Unit of Berth, Bare and a limit that is not on the ratio: s, ms, MiB or %.
	Unit  string  `json:"unit"`
	Berth float64 `json:"berth"`
	// Bare is the bare client's, nil where there is nothing to compare.
	Bare *float64 `json:"bare,omitempty"`
	// Limit is on the ratio with OnRatio set, on the difference with OnAdded, else on Berth's own figure;
	// nil where there is none.
	Limit   *float64 `json:"limit,omitempty"`
	OnRatio bool     `json:"limitIsOnRatio,omitempty"`
	// OnAdded means that the limit is on what Berth's figure has over the bare
	// one, AtLeast that it is the least that is wanted.
	OnAdded bool `json:"limitIsOnAdded,omitempty"`
	AtLeast bool `json:"limitIsLeast,omitempty"`
	// Paired means that the ratio is the median of the rounds' ratios, where a
	// machine's mood lasts longer than a round.
	Paired bool `json:"ratioOfRounds,omitempty"`
	// Strict means that the figure must be under the limit, not at it.
	Strict bool `json:"limitIsStrict,omitempty"`
	// Rounds are the values behind the medians.
	BerthRounds []float64 `json:"berthRounds,omitempty"`
	BareRounds  []float64 `json:"bareRounds,omitempty"`
}

// ratios are those of the rounds.
func (f Figure) ratios() (each []float64) {
	for i := range f.BerthRounds {
		each = append(each, f.BerthRounds[i]/f.BareRounds[i])
	}
	return each
}

// Quartiles are the two that half of the rounds' ratios lie between.
func (f Figure) Quartiles() (low, high float64) {
	return percentile(f.ratios(), 25), percentile(f.ratios(), 75)
}

// Ratio is Berth's figure over the bare client's, 0 without one.
func (f Figure) Ratio() float64 {
	if f.Paired {
		return median(f.ratios())
	}
	if f.Bare == nil || *f.Bare == 0 {
		return 0
	}
	return f.Berth / *f.Bare
}

// Met reports whether the limit is met; there is none to miss without one.
func (f Figure) Met() bool {
	value := f.Berth
	switch {
	case f.OnRatio:
		value = f.Ratio()
	case f.OnAdded && f.Bare != nil:
		value -= *f.Bare
	}
	if f.AtLeast {
		return f.Limit == nil || value >= *f.Limit
	}
	return f.Limit == nil || value < *f.Limit || value == *f.Limit && !f.Strict
}

// Result is a whole run, as it is written to a file.
type Result struct {
	At      time.Time `json:"at"`
	Machine string    `json:"machine"`
	Notes   []string  `json:"notes"`
	Figures []Figure  `json:"figures"`
	// Failed says what could not be measured.
	Failed string `json:"failed,omitempty"`
}

// Write writes the result to <time>.json and latest.json in dir, and returns
// the first one's path.
func (r Result) Write(dir string) (string, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", fmt.Errorf("writing the figures: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("writing the figures: %w", err)
	}
	path := filepath.Join(dir, r.At.UTC().Format("20060102T150405Z")+".json")
	for _, p := range []string{path, filepath.Join(dir, "latest.json")} {
		if err := os.WriteFile(p, append(data, '\n'), 0o644); err != nil {
			return "", fmt.Errorf("writing the figures: %w", err)
		}
	}
	return path, nil
}

// row is the widths of the table's columns; the whole fits 100.
const row = "%s %10s %11s %6s %10s  %s\n"

const nameWidth = 48

// Table prints the figures, in groups by condition.
func Table(w io.Writer, figures []Figure) {
	condition := ""
	for _, f := range figures {
		if f.Condition != condition {
			condition = f.Condition
			fmt.Fprintf(w, "\n"+row, pad(strings.ToUpper(condition[:1])+condition[1:]), "Berth", "bare client", "ratio", "limit", "")
		}
		bare, ratio, limit, verdict := "-", "-", "-", ""
		if f.Bare != nil {
			bare, ratio = amount(*f.Bare, f.Unit), fmt.Sprintf("%.2f", f.Ratio())
		}
		if f.Limit != nil {
			sign, unit := "≤ ", f.Unit
			switch {
			case f.AtLeast:
				sign = "≥ "
			case f.OnAdded:
				sign = "< +"
			case f.Strict:
				sign = "< "
			}
			if f.OnRatio {
				unit = "×"
			}
			limit, verdict = sign+fmt.Sprintf("%g %s", *f.Limit, unit), "met"
			if !f.Met() {
				verdict = "NOT met"
			}
		}
		fmt.Fprintf(w, row, pad("  "+f.Name), amount(f.Berth, f.Unit), bare, ratio, limit, verdict)
	}
}

func pad(s string) string {
	return s + strings.Repeat(" ", max(0, nameWidth-utf8.RuneCountInString(s)))
}

func amount(v float64, unit string) string {
	switch {
	case unit == "ms":
		return fmt.Sprintf("%.1f ms", v)
	case unit == "%":
		return fmt.Sprintf("%.3f %%", v)
	}
	return fmt.Sprintf("%.2f %s", v, unit)
}

// compared is a figure of several rounds with a limit on the ratio.
func compared(name, condition string, berth, bare []float64, limit float64) Figure {
	m := median(bare)
	return Figure{Name: name, Condition: condition, Unit: "s", Berth: median(berth), Bare: &m,
		Limit: &limit, OnRatio: true, BerthRounds: berth, BareRounds: bare}
}

// below is a figure that must be under a limit of its own.
func below(name, condition, unit string, berth []float64, bare []float64, limit float64) Figure {
	f := Figure{Name: name, Condition: condition, Unit: unit, Berth: median(berth), Limit: &limit, Strict: true, BerthRounds: berth}
	if bare != nil {
		m := median(bare)
		f.Bare, f.BareRounds = &m, bare
	}
	return f
}

// added is a figure that must have less than a limit over the bare one.
func added(name, condition, unit string, berth, bare []float64, limit float64) Figure {
	f := below(name, condition, unit, berth, bare, limit)
	f.OnAdded = true
	return f
}

// shown is a figure without a limit, which tells where another comes from.
func shown(name, condition, unit string, berth, bare []float64) Figure {
	f := below("  "+name, condition, unit, berth, bare, 0)
	f.Limit, f.Strict = nil, false
	return f
}

// atLeast is a figure that must not be under a limit.
func atLeast(name, condition, unit string, berth, bare []float64, limit float64) Figure {
	f := below(name, condition, unit, berth, bare, limit)
	f.Strict, f.AtLeast = false, true
	return f
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}

// percentile is the smallest value that p of 100 values do not exceed.
func percentile(values []float64, p float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return v[int(math.Ceil(p/100*float64(len(v))))-1]
}
