// Package volume holds the states of a volume, the journal that keeps them over
// crashes, and the decision what to do next with a volume.
//
// A volume's life, found on a disk:
//
//	(new) → Clean → Published → Used → Wiping → Wiped → Published → …
//
// Published may go back to Clean through Withdrawing, as long as no claim had
// the volume. From any state in which a claim may have had it, doubt leads to
// Quarantined, never to Clean. Only a person leads on from there:
//
//	Quarantined → Clean               release
//	Quarantined → Returning → Used    republish
//	Quarantined → Wiping → Wiped      wipe
//
// The package does not look at disks, does not talk to Kubernetes and does not
// act: Decide is a pure function.
package volume
