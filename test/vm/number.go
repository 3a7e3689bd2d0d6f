package vm

import (
	"os"
	"strconv"
	"testing"
)

// Number is the number that an environment variable says how much a test is to
// do, or with which seed; other when it says nothing. One that is no number ends
// the test.
func Number(t testing.TB, name string, other uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return other
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
