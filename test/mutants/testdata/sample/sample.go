// Package sample is for trying changes on.
package sample

// Add adds.
func Add(a, b int) int { return a + b }
