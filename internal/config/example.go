package config

import _ "embed"

// Example is a valid configuration that shows every field, with comments.
//
//go:embed example.yaml
var Example []byte
