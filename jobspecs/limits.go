package jobspecs

// Limits of a job file. They are checked before the work that they bound.
const (
	MaxSource        = 1 << 20  // bytes of a job file, a variable file, or a file read by a function
	MaxJob           = 1 << 20  // bytes of a job in JSON, once everything is filled in
	MaxNesting       = 64       // brackets, blocks and templates within each other
	MaxOperators     = 256      // operators, indexes and nested directives of one expression at one level of brackets
	MaxNames         = 1000     // variables, and locals
	MaxDynamic       = 1000     // blocks that one dynamic block makes
	MaxBlocks        = 50_000   // blocks of a job after expansion
	MaxGroups        = 100      // groups of a job
	MaxTasks         = 20       // tasks of a group
	MaxValue         = 1 << 20  // bytes of one evaluated value
	MaxWork          = 16 << 20 // bytes looked at while a file is evaluated
	MaxDiagnostics   = 20       // errors reported
	MaxYAMLAliases   = 16       // aliases in a text given to yamldecode
	MaxBcryptCost    = 12       // cost given to bcrypt
	MaxRegexpPattern = 256      // bytes of a pattern given to a function
	MaxFormatWidth   = 999      // width or precision of a verb of format
)
