// Package host is the hands: the only code that changes the machine. It does
// not decide anything: which disk, whether, and when are its callers' business,
// and each call here does one thing that a test can make fail by its name.
package host
