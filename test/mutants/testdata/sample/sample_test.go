package sample

import "testing"

func TestAdd(t *testing.T) {
	if Add(1, 2) != 3 {
		t.Error("1 + 2 is not 3")
	}
}

func TestNothing(*testing.T) {}

func TestFails(t *testing.T) { t.Error("always") }
