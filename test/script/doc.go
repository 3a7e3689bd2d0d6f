// Package script proves the commands berth and kubectl-berth by scripts: each
// file of testdata runs the built programs and says what they print, with which
// status they end and what they leave behind. Its tests carry the build tag
// "script". It does not test packages from within.
package script
