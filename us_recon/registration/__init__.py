"""Registration of an MRI to tracked ultrasound: similarity, solver, search, gate and registrar."""
