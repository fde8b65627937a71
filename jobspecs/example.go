package jobspecs

import _ "embed" // the example is a file

// ExampleName is the name that `drover job init` writes Example to.
const ExampleName = "hello.nomad.hcl"

//go:embed hello.nomad.hcl
var example string

// Example returns the text of a first job. It runs on a fresh agent without a registry.
func Example() []byte { return []byte(example) }
