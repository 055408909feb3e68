"""What several stages need to see: flow, camera, what stands behind, what moves."""
