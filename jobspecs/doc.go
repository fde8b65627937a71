// Package jobspecs turns the text of a job file, HCL or JSON, into a validated state.Job.
//
// It owns: the decode table (fields.txt, read with Fields) that says for every name of the job language where it may stand, its
// type, its default, its JSON name and whether it works yet; input variables, locals and functions; defaults and inheritance from
// job to group to task; and diagnostics that point at the place in the file.
//
// How a job comes to be: text → a tree of nodes (read from HCL by reader_hcl.go, from JSON by reader_json.go, both guided by the
// table) → inheritance and defaults, on the tree → state.Job, by JSON names → Job.Validate, whose errors are mapped back to places
// in the text. No code knows a single attribute by name except the few that have two spellings (shape.go).
//
// Values that only the node knows survive as text: "${attr.cpu.arch}", "${node.unique.name}", "${meta.rack}", "${env["X"]}",
// "${NOMAD_PORT_http}". References to var and local are resolved here, and a wrong one is an error.
//
// It refuses: network access; reading files other than those that a job names with a file function, which work only where
// Inputs.BaseDir is set; and unbounded work. Size and nesting are checked before the parser sees the text, evaluation is metered.
// What it does not bound is wall time: who parses text of strangers does so in a process of its own.
//
// All functions may be called from any goroutine; nothing is shared between calls but the table, which nobody changes.
package jobspecs
