"""A low-dimensional shape prior from earlier subjects: trained, fitted and shown apart."""
