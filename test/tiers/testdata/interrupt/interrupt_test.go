// Package interrupt is a test that cleans up when it is interrupted, for the
// tests of the tiers.
package interrupt

import (
	"os"
	"os/signal"
	"testing"
	"time"
)

func TestCleansUp(t *testing.T) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	// Opening the pipe waits for the one who interrupts.
	ready, err := os.OpenFile(os.Getenv("READY"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	select {
	case <-signals:
	case <-time.After(time.Minute):
		t.Fatal("not interrupted")
	}
	// Cleaning up takes a while; go test must still be there at its end.
	<-time.After(500 * time.Millisecond)
	if err := os.WriteFile(os.Getenv("CLEANED"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Error("interrupted")
}
