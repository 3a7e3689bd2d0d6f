// Package law holds the rules of the source tree, and fails when one is broken:
// who may import whom, that every package says what it is, and how long a file
// may be. The rules come from the design; a change that breaks one changes the
// change, not the rule.
//
// It judges imports and form only. What the code does is for the tests beside it.
package law

// module is the path of the main module.
const module = "github.com/berth-storage/berth"
