"""Robotic ultrasound in ROS 2: a live surface map and a live registration to MRI.

The package directory of the source tree and the one that holds the generated messages
(``us_recon.msg``) are merged into one namespace here. Nothing of ROS is imported.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
