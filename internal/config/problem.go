package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a configuration file.
type Problem struct {
	File string
	// Line counts from 1.
	Line int
	// Field is the path to the field, such as classes[0].mountDir. It is
	// empty when the file as a whole is meant.
	Field string
	// Message says what was found and what is allowed.
	Message string
}

// String is the problem on one line: file:line: field: message.
func (p Problem) String() string {
	if p.Field == "" {
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
	}
	return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Field, p.Message)
}

// Errors is everything that is wrong with a configuration, in the order of its files
// and lines. It has at least one problem.
type Errors struct {
	Problems []Problem
}

// Error has a line for each problem.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// MissingClasses returns an *Errors that names every class without a
// StorageClass in have, or nil. It is apart from Decode because only a caller
// with a cluster knows which StorageClasses exist.
func (a *Agent) MissingClasses(have []string, file string) error {
	have = slices.Sorted(slices.Values(have))
	var problems []Problem
	for i, class := range a.Classes {
		if slices.Contains(have, class.Name) {
			continue
		}
		exist := "the cluster has none"
		if len(have) > 0 {
			exist = "the cluster has: " + strings.Join(have, ", ")
		}
		problems = append(problems, Problem{
			File: file, Line: class.Line, Field: fmt.Sprintf("classes[%d].name", i),
			Message: fmt.Sprintf("no StorageClass %q; %s%s", class.Name, exist, Suggestion(class.Name, have)),
		})
	}
	return AsError(problems)
}

// AsError returns an *Errors with the problems sorted by Compare, or nil when
// there are none.
func AsError(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	slices.SortStableFunc(problems, Compare)
	return &Errors{Problems: problems}
}

// Compare orders problems by file and line.
func Compare(a, b Problem) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
}

// Suggestion is a half-sentence that names the allowed word nearest to a
// misspelt one, or "" when none is near.
func Suggestion(found string, allowed []string) string {
	best, bestDistance := "", 1+max(2, len(found)/3)
	if utf8.RuneCountInString(found) > 64 {
		return ""
	}
	for _, word := range allowed {
		d := distance(strings.ToLower(found), strings.ToLower(word))
		if d < bestDistance && d < len(word) {
			best, bestDistance = word, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the number of letters to insert, delete or replace to turn a into b.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	row := make([]int, len(t)+1)
	for j := range row {
		row[j] = j
	}
	for i := range s {
		diagonal := row[0]
		row[0] = i + 1
		for j := range t {
			cost := diagonal
			if s[i] != t[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(t)]
}
