package main

import "github.com/spf13/cobra"

// commands are the nouns and the top-level aliases.
func commands(*app) []*cobra.Command { return nil }
